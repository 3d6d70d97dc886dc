"""What shares a batch when a policy does not say so itself."""

import numpy as np
import pytest
from offboard_core import Chunk, InferContext, Item
from offboard_core.types import NO_CONTEXT
from puppets import Puppet

X = {"state": np.zeros(3, np.float32), "task": "go"}


def key(inputs=X, **context):
    return Puppet().batch_key(Item(None, inputs, InferContext(**context) if context else NO_CONTEXT))


def prefix(steps, width=3):
    return Chunk(np.ones((steps, width)))


def test_values_do_not_count():
    assert key() == key({"task": "stop", "state": np.ones(3, np.float32)})
    assert key(prefix=prefix(4)) == key(prefix=Chunk(np.zeros((4, 3))))
    assert key(history=(X,)) == key(history=({**X, "state": np.ones(3, np.float32)},))


def test_each_robot_may_have_a_seed_of_its_own():
    assert key(seed=1) == key(seed=2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"inputs": {**X, "state": np.zeros(4, np.float32)}}),
        ({}, {"inputs": {**X, "state": np.zeros(3)}}),
        ({}, {"inputs": {"state": X["state"]}}),
        ({}, {"prefix": prefix(4)}),
        ({"prefix": prefix(4)}, {"prefix": prefix(5)}),
        ({"prefix": prefix(4)}, {"prefix": Chunk({"target_pose": np.ones((4, 3))})}),
        ({"delay_steps": 1}, {"delay_steps": 2}),
        ({}, {"history": (X,)}),
        ({"history": (X,)}, {"history": (X, X)}),
    ],
)
def test_what_a_stacked_call_has_one_of_must_be_the_same(one, other):
    assert key(**one) != key(**other)
