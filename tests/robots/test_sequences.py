"""Whatever a server answers, chunk after chunk: what an arm was sent is measured, and it kept to the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import BadObservation, InvalidAction
from offboard_client.play import Guard, SafetyLimits
from planar_arm import LINKS, Planar, Solvable
from sequences import Answer, Maker, Server, answers, drawn, limits, play, rates
from set_points import TracedArm, held, planar_tool

#: Whether kinematics solve, know forward, or are lacking; and how many periods the arm lags behind.
ARMS: dict[str, Callable[[], TracedArm]] = {
    "solving": lambda: TracedArm(Solvable()),
    "solving and lagging": lambda: TracedArm(Solvable(), lag=4),
    "forward only": lambda: TracedArm(Planar()),
    "of joints alone": lambda: TracedArm(None),
}
every_arm = pytest.mark.parametrize("name", ARMS)
often = pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.slow)])


def maker(arm: TracedArm, allowed: SafetyLimits, fps: float) -> Maker:
    names = {"target_joints"}
    if arm.kinematics:
        names.add("target_pose")
    if not arm.lag:
        names.add("joint_delta")  # which counts from what only a lagging robot itself knows
    return Maker(allowed, fps, Planar().forward, frozenset(names), reach=(sum(LINKS), 3.0))


def assert_held(arm: TracedArm, allowed: SafetyLimits) -> None:
    tool = planar_tool if arm.kinematics else None
    for trace in arm.traces:
        held(trace, allowed, arm.control_period, tool, joints=tool is None or isinstance(arm.kinematics, Solvable))


def allowed_to(name: str) -> st.SearchStrategy[SafetyLimits]:
    kinematics = ARMS[name]().kinematics
    return limits(3, known=kinematics is not None, solved=isinstance(kinematics, Solvable))


@often
@every_arm
def test_whatever_the_driver_plays_keeps_to_the_limits(name: str, count: int) -> None:
    outcomes: Counter[str] = Counter()

    @drawn(count)
    @given(allowed_to(name), rates, answers, st.floats(0.05, 5))
    def check(allowed: SafetyLimits, fps: float, chunks: list[Answer | None], seconds: float) -> None:
        arm = ARMS[name]()
        server = Server(chunks, maker(arm, allowed, fps), lambda: arm.joints, lambda: len(arm.moves))
        play(server, arm, allowed, seconds)
        assert_held(arm, allowed)
        outcomes.update(server.outcomes)

    check()
    assert outcomes["played"] > count / 2
    assert outcomes["refused"] > count / 10


@often
@every_arm
def test_whatever_a_loop_plays_keeps_to_the_limits_though_it_goes_on_after_a_refusal(name: str, count: int) -> None:
    outcomes: Counter[str] = Counter()

    @drawn(count)
    @given(allowed_to(name), rates, answers)
    def check(allowed: SafetyLimits, fps: float, chunks: list[Answer | None]) -> None:
        arm = ARMS[name]()
        guard = Guard(arm, allowed, {"action": {}, "action_fps": fps})
        make = maker(arm, allowed, fps)
        for chunk in chunks:
            seen = arm.observe()
            try:
                commands = guard.plan(make(chunk, arm.joints), seen)
            except (InvalidAction, BadObservation):
                outcomes["refused"] += 1
                continue
            for number, command in enumerate(commands, start=1):
                try:
                    arm.apply(command.action, command.seconds)
                except InvalidAction:  # the arm's own
                    guard.reset()
                    break
                outcomes["played"] += bool(command.action)
                if chunk is not None and number == chunk.played:
                    break
        assert_held(arm, allowed)

    check()
    assert outcomes["played"] > count / 2
    assert outcomes["refused"] > count / 10
