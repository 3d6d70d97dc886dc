"""The kit's laws for a policy whose model is a process: a defect is planted for each, and the kit finds it."""

import subprocess
import sys
import weakref

import numpy as np
import pytest
from offboard_client.errors import ModelLost, PolicyFailed
from offboard_core import Checkpoint, Chunk, Health, Policy, Session
from offboard_core.testing import ChildLaws
from planted import OBSERVATION, Good, check, resolved, served

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


class Asks(Session):
    def __init__(self, policy):
        self.policy = policy

    def infer(self, inputs, context):
        return self.policy.ask(inputs["state"])


class ComesBack(Policy):
    """Keeps the law: an error, and another process."""

    def __init__(self):
        self.begin()

    def begin(self):
        self.child = subprocess.Popen(SLEEPS)
        self.end = weakref.finalize(self, end, self.child)

    def new_session(self, params):
        return Asks(self)

    def ask(self, state):
        if self.child.poll() is not None:
            return self.without(state)
        return Chunk(state[None])

    def without(self, state):
        self.begin()
        raise PolicyFailed("it is being restarted; try again later")

    def close(self):
        self.end()


def end(child):
    child.kill()
    child.wait()


class IsLost(ComesBack):
    """Keeps it, too."""

    lost = False

    def without(self, state):
        self.lost = True
        raise ModelLost("it has died")

    def health(self):
        return Health("failed", "it has died") if self.lost else Health()


class IsLostAndSaysNothing(IsLost):
    def health(self):
        return Health()


class FallsBackToZeros(ComesBack):
    def without(self, state):
        return Chunk(np.zeros((1, 3)))


class AnswersByItsLast(ComesBack):
    def without(self, state):
        return Chunk(state[None] + 0.01)


class NeverComesBack(ComesBack):
    def without(self, state):
        raise PolicyFailed("it is being restarted; try again later")


class HandsOnWhatBroke(ComesBack):
    def without(self, state):
        raise BrokenPipeError("it is gone")


class HasNoProcess(ComesBack):
    def begin(self):
        self.end = lambda: None

    def ask(self, state):
        return Chunk(state[None])


def tried(policy, law):
    given = {
        "source": served(policy), "checkpoint": Checkpoint(id="only"), "resolved_codec": resolved(Good),
        "observation": OBSERVATION,
    }  # fmt: skip
    check(ChildLaws(), law, **given)


@pytest.mark.parametrize("policy", [ComesBack, IsLost])
def test_what_keeps_the_law_passes(policy):
    tried(policy, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones)


@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (FallsBackToZeros, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones),
        (AnswersByItsLast, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones),
        (NeverComesBack, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones),
        (HandsOnWhatBroke, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones),
        (IsLostAndSaysNothing, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones),
        (HasNoProcess, ChildLaws.test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones),
    ],
)
def test_a_policy_that_breaks_the_law_is_found(policy, law, monkeypatch):
    monkeypatch.setattr("offboard_core.testing._child._BACK", 0.2)
    with pytest.raises((AssertionError, BrokenPipeError)):
        tried(policy, law)
