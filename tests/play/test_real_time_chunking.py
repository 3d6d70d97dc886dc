"""Real-time chunking over the wire: a served flow policy, told what is not played yet, makes one motion."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from flow import FPS, JOINTS, STRIDE, FlowPlugin
from flow_matching import HARD, FlowMatching, Form
from offboard_client import ConfigurationError, InferenceClient
from offboard_client.chunks import Step
from offboard_client.play import HoldStill, PolicyStream
from offboard_core import InferenceServer
from puppets import PATIENCE, source

PERIOD = 1 / FPS


class Late:
    """A session whose answers are handed on when the test says so."""

    def __init__(self, session: Any) -> None:
        self.metadata: Mapping[str, Any] = session.metadata
        self.timing = session.timing
        self.reset, self.close, self._session = session.reset, session.close, session
        self.due = threading.Semaphore(0)

    def infer(self, observation: Mapping[str, Any]) -> Any:
        rows = self._session.infer(observation)
        assert self.due.acquire(timeout=PATIENCE)
        return rows


@dataclass
class Arm:
    """Is where it was sent last; ``delays``: how many steps late the i-th answer is. One moment a step."""

    stream: PolicyStream
    session: Late
    time: list[float]
    delays: Mapping[int, int] = field(default_factory=dict[int, int])
    delay: int = 3
    joints: Any = field(default_factory=lambda: np.zeros(JOINTS))
    asked: int = 0
    due: float | None = None
    played: list[Step | HoldStill] = field(default_factory=list)
    places: list[Any] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    #: Of the steps of an answer, whether they were played or not.
    inside: float = 0.0

    def play(self, steps: int) -> None:
        for _ in range(steps):
            now = self.time[0]
            if self.due is not None and now >= self.due - 1e-9:
                self.due = None
                self.session.due.release()
                assert self.stream.wait(PATIENCE)
            landed = self.stream.landed(now)
            if landed is not None:
                assert landed.failure is None, landed.failure
                self.dropped += [landed.dropped] if landed.dropped else []
                rows = np.array([row["action"]["target_joints"] for row in landed.rows or []])
                steps = np.diff(rows, axis=0, prepend=landed.observation["robot_state.q"][None])
                self.inside = max(self.inside, float(np.abs(steps).max()))
            if self.stream.wants(now):
                self.stream.observe({"robot_state.q": self.joints, "task": "go"}, now)
                self.due = now + self.delays.get(self.asked, self.delay) * PERIOD
                self.asked += 1
            step = self.stream.next_action(now)
            self.played.append(step)
            if isinstance(step, Step):
                self.joints = np.asarray(step.action["target_joints"])
            self.places.append(self.joints)
            self.time[0] += PERIOD

    def steps(self) -> tuple[float, float]:
        """How far a joint is to go at once, in rad: within an answer at most, and from one played to the next."""
        between = 0.0
        for i in range(1, len(self.played)):
            before, after = self.played[i - 1], self.played[i]
            if not (isinstance(before, Step) and isinstance(after, Step) and before.observed == after.observed):
                between = max(between, float(np.abs(self.places[i] - self.places[i - 1]).max()))
        return self.inside, between


@contextmanager
def playing(form: Form, chunks: str, codec: str = "scaled", **options: Any) -> Generator[tuple[FlowMatching, Arm]]:
    policy = FlowMatching(form)
    served = source({"flow": lambda: policy}, codec=codec, plugin=FlowPlugin())
    time = [0.0]
    with (
        InferenceServer({"flow": served}, port=0) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        late = Late(session)
        with PolicyStream(late, chunks, clock=lambda: time[0]) as stream:
            yield policy, Arm(stream, late, time, **options)
            late.due.release()


@pytest.mark.parametrize("form", ["guided", "trained"])
def test_a_policy_that_is_told_makes_one_motion_of_its_chunks(form: Form) -> None:
    with playing(form, "rtc") as (policy, arm):
        arm.play(300)
    inside, between = arm.steps()
    assert between <= inside
    assert inside < 10 * STRIDE, "and its speed does not grow with each answer"
    assert arm.dropped == [], "and what was to say how late answers are is no loss"
    assert [context.prefix is None for context in policy.told[:3]] == [True, True, False]
    told = policy.told[2:]
    assert len(told) > 20
    assert {context.delay_steps for context in told} == {arm.delay}
    for context in told:
        assert context.prefix is not None
        assert isinstance(context.prefix.action, np.ndarray), "as the codec says it to the model"
    moving = arm.played[60:]
    assert all(isinstance(step, Step) for step in moving), "and it never waits"


@pytest.mark.parametrize("form", ["guided", "trained"])
def test_the_same_policy_jumps_where_it_is_not_told(form: Form) -> None:
    with playing(form, "latest") as (policy, arm):
        arm.play(300)
    inside, between = arm.steps()
    assert between > 2.5 * inside
    assert inside < 4 * STRIDE
    assert all(context.prefix is None for context in policy.told)


def test_an_answer_that_is_later_than_the_model_can_bear_is_never_gone_on_with() -> None:
    with playing("trained", "rtc", delays=dict.fromkeys(range(6, 12), HARD + 2)) as (policy, arm):
        arm.play(300)
    inside, between = arm.steps()
    assert between <= inside, "never a jump"
    assert max(context.delay_steps for context in policy.told) == HARD
    assert any(f"the model was told {HARD * PERIOD:.3g} s" in why for why in arm.dropped)
    first = next(i for i, step in enumerate(arm.played) if i > 60 and isinstance(step, HoldStill))
    assert np.all(arm.places[first] == arm.places[first - 1]), "it waits where it is"
    assert all(isinstance(step, Step) for step in arm.played[-50:]), "and goes on when answers come in time"


def test_a_model_that_cannot_be_told_is_refused_with_the_codecs_reason() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"is told prefix, .*joints are rounded to degrees"),
        playing("guided", "rtc", codec="rounded"),
    ):
        pass
