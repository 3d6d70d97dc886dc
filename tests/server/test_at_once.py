"""A policy that says that it never blocks, behind a server: what is asked on the event loop, and what is not."""

import io
import json
import threading

import numpy as np
import pytest
from offboard_core import Field
from offboard_core.server import InferenceServer
from PIL import Image
from puppets import Puppet, source
from robots import first, robot

X = {"x": np.zeros(3)}
INPUTS = {"image.wrist": Field(shape=(-1, -1, 3), dtype="uint8", required=False)}


class Quick(Puppet):
    """Remembers the threads of its inferences by name."""

    blocking = False

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.names = []

    def new_session(self, params):
        return super().new_session(params)

    def infer_many(self, batch):
        self.names.append(threading.current_thread().name)
        return super().infer_many(batch)


def where(name):
    return "the model's" if name.startswith("offboard-model") else "the loop's"


def jpeg():
    out = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def quick():
    policy = Quick()
    with (
        InferenceServer({"only": source({"a": lambda: policy}, inputs=INPUTS)}, port=0) as server,
        robot(server) as one,
    ):
        one.opened()
        assert first(one.ask(X)) == 1
        assert [where(name) for name in policy.names] == ["the model's"], "the first fills what is filled once"
        settled(policy, one)
        yield policy, one


def settled(policy, one):
    """It is asked on the loop from now on: its thread ends a call a moment after the answer has left."""
    for _ in range(1000):
        one.ask(X)
        if where(policy.names[-1]) == "the loop's":
            policy.names.clear()
            return
    raise AssertionError("it is never asked on the loop")


def test_small_observations_are_answered_on_the_loop(quick):
    policy, one = quick
    done = len(policy.episodes[-1].seen)
    assert [first(one.ask({**X, "offboard.seq": i})) - done for i in range(1, 6)] == [1, 2, 3, 4, 5]
    assert [where(name) for name in policy.names] == ["the loop's"] * 5
    one.ask({"type": "reset"})
    assert first(one.ask(X)) == 1


@pytest.mark.parametrize(
    "frame",
    [
        json.dumps({"x": [0, 0, 0]}),
        {"image.wrist": jpeg()},
        {"x": [0.0] * 300},
        {"x": np.zeros(2**20)},
    ],
    ids=["text", "JPEG", "a long list", "8 MiB"],
)
def test_what_takes_time_to_read_goes_to_the_models_thread(quick, frame):
    policy, one = quick
    done = len(policy.episodes[-1].seen)
    assert first(one.ask(frame)) == done + 1
    assert [where(name) for name in policy.names] == ["the model's"]
    assert first(one.ask(X)) == done + 2


REFUSED = [
    b"\xc1",
    {"offboard.seq": 7, "x": np.array([np.nan])},
    {"image.wrist": np.zeros((2, 2), np.uint8)},
    {"offboard.seq": 8, "image.wrist": b"no image"},
    {"type": "x", "y": np.zeros(200)},
    {"offboard.deadline_ms": 0},
]


def answers(policy_class):
    """What is said to each of these, and the answer after them."""
    made = source({"a": policy_class}, inputs=INPUTS)
    with InferenceServer({"only": made}, port=0) as server, robot(server) as one:
        one.opened()
        one.ask(X)
        replies = [one.ask(frame) for frame in REFUSED]
        return [[reply.get(name) for name in ("code", "offboard.seq", "error")] for reply in replies], first(one.ask(X))


def test_what_is_refused_is_refused_in_the_same_words():
    (quick, after), (plain, after_plain) = answers(Quick), answers(Puppet)
    assert [each[0] for each in quick] == [each[0] for each in plain]
    assert quick[:-1] == plain[:-1], "but for how long the late one waited"
    assert after == after_plain


@pytest.mark.parametrize("held", ["a function", "an object"])
def test_what_is_served_as_a_policy_says_it_by_an_attribute(held):
    names = []

    def answer(observation):
        names.append(threading.current_thread().name)
        return np.zeros((2, 3))

    class Table:
        blocking = False
        infer = staticmethod(answer)

    answer.blocking = False
    with (
        InferenceServer({"table": answer if held == "a function" else Table()}, port=0) as server,
        robot(server) as one,
    ):
        one.opened()
        while len(names) < 1000 and not (names and where(names[-1]) == "the loop's"):
            assert "result" in one.ask(X)
    assert where(names[0]) == "the model's"
    assert where(names[-1]) == "the loop's"
