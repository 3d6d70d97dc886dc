"""A chunk is checked as it will be played: each command against the one before it, whatever its kind."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from guarded import ANYWHERE, BY_JOINTS, POSE, guard_of, joints, meta, moved, play, refusal, rows, shifted
from offboard_client.errors import BadObservation, ConfigurationError, InvalidAction
from offboard_client.play import Guard, RobotLimits, SafetyLimits
from planar_arm import HOME, Planar, PlanarArm, Solvable

# -- where a command was checked -------------------------------------------------------------------------------


def test_a_command_says_what_it_was_compared_with_until_the_arm_is_commanded() -> None:
    arm = PlanarArm(Solvable())
    guard, seen = guard_of(arm), arm.observe()
    chunk = [*rows(moved(0.1, 0, 0), moved(0.2, 0, 0))]
    assert [command.start is seen for command in guard.plan(chunk, seen)] == [True, False]
    later = arm.observe()
    assert [command.start is later for command in guard.plan(None, later)] == [True]
    assert next(guard.bring({"target_joints": HOME}, lambda: later)).start is later


@pytest.mark.parametrize("takes", [True, False])
def test_it_is_handed_to_a_robot_that_takes_it(takes: bool) -> None:
    given: list[Any] = []

    class Takes(PlanarArm):
        def apply(self, action: Any, seconds: float, start: Any = None) -> None:
            given.append(start)

    class DoesNot(PlanarArm):
        def apply(self, action: Any, seconds: float) -> None:
            given.append(None)

    arm = (Takes if takes else DoesNot)(Solvable())
    seen = arm.observe()
    for command in guard_of(arm).plan(rows(moved(0.1, 0, 0), moved(0.2, 0, 0)), seen):
        command.play_on(arm)
    assert [start is seen for start in given] == [takes, False]


# -- rows that are not played --------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [1e-7, 1e-4, 1e-3])
def test_rows_that_are_never_played_do_not_hide_a_jump(apart: float) -> None:
    walk = [moved(0.4 * (i + 1), 0, 0) for i in range(3)]
    assert "row 2 puts joint 1 1.200 rad away" in refusal(rows(*walk, step=apart))


def test_rows_that_are_never_played_cost_nothing() -> None:
    arm = PlanarArm(Solvable())
    nonsense = {"target_joints": HOME + 3.0}
    chunk = [{"action": nonsense, "timestamp": 0.0}, {"action": moved(0.1, 0, 0), "timestamp": 1e-6}]
    play(arm, guard_of(arm), chunk)
    np.testing.assert_allclose(arm.joints, joints(0.1, 0, 0))
    late = [*rows(moved(0.1, 0, 0)), {"action": nonsense, "timestamp": 0.1}]
    assert len(list(guard_of(arm).plan(late, arm.observe(), left=0.15))) == 2


# -- per second, whatever the server says ----------------------------------------------------------------------


def there_and_back(count: int) -> list[dict[str, Any]]:
    return [moved(0.45 * ((i + 1) % 2), 0, 0) for i in range(count)]


def test_neither_the_rate_nor_the_times_of_a_server_choose_the_speed() -> None:
    assert "joint 1 at 45 rad/s; joint_velocity allows 2" in refusal(rows(*there_and_back(100), step=0.001), fps=1000)
    assert "rad/s; joint_velocity allows 2" in refusal(rows(*there_and_back(100), step=0.002), fps=10)
    assert "rad/s; joint_velocity allows 2" in refusal(rows(*there_and_back(4), step=0.1), fps=0.1)
    slow = SafetyLimits(joint_velocity=0.5, linear_velocity=5.0)
    assert "joint 1 at 1 rad/s; joint_velocity allows 0.5" in refusal(rows(moved(0.1, 0, 0)), limits=slow)
    little = refusal(rows(moved(0.1, 0, 0)), limits=replace(slow, joint_velocity=0.8))
    assert "play slower (--speed)" in little
    assert "unit" not in little, "those of another one are off by far more"
    assert "Check the units" in refusal(rows(moved(0.1, 0, 0)), limits=replace(slow, joint_velocity=0.1))


def test_a_row_is_approached_in_the_time_it_is_played_for() -> None:
    arm = PlanarArm(Solvable())
    play(arm, guard_of(arm, fps=1), rows(moved(0.4, 0, 0)))
    assert len(arm.sent) == 100
    assert np.abs(np.diff([q[0] for q in arm.sent])).max() == pytest.approx(0.004)


def test_joints_may_have_a_limit_each() -> None:
    limits = replace(BY_JOINTS, joint_velocity=(2.0, 2.0, 0.5))
    arm = PlanarArm(Solvable())
    play(arm, guard_of(arm, limits), rows(moved(0.19, 0, 0.04)))
    assert "joint 3 at 1 rad/s; joint_velocity allows 0.5" in refusal(rows(moved(0.19, 0, 0.1)), limits=limits)
    with pytest.raises(ConfigurationError, match="joint_velocity states 2 joints, the robot has 3"):
        play(arm, guard_of(arm, SafetyLimits(joint_velocity=(1.0, 1.0))), rows(moved(0, 0, 0)))


def test_the_end_effector_has_a_speed_of_its_own_whatever_moves_it() -> None:
    limits = SafetyLimits(linear_velocity=0.3, joint_velocity=20.0)
    assert "target_pose of row 0 moves the end effector at 0.5" in refusal(rows(shifted(-0.05)), limits=limits)
    says = refusal(rows(moved(0.1, 0, 0)), limits=limits)
    assert "target_joints of row 0 moves the end effector at 0." in says
    assert "linear_velocity allows 0.3" in says
    turn = SafetyLimits(angular_velocity=0.5, joint_velocity=20.0)
    assert "turns the end effector at 1 rad/s" in refusal(rows({"joint_delta": [0, 0, 0.1]}), limits=turn)


def test_a_change_of_velocity_is_limited_where_that_is_stated_and_a_stop_is_free() -> None:
    smooth = rows(moved(0.05, 0, 0), moved(0.15, 0, 0), moved(0.15, 0, 0))
    abrupt = rows(moved(0.05, 0, 0), moved(0.2, 0, 0))
    for stated in ({"joint_acceleration": 6.0}, {"linear_acceleration": 3.0}, {"angular_acceleration": 6.0}):
        limits = SafetyLimits(**stated)  # pyright: ignore[reportArgumentType]
        arm = PlanarArm(Solvable())
        play(arm, guard_of(arm, limits), smooth)
        assert f"{next(iter(stated))} allows" in refusal(abrupt, limits=limits)


def test_a_speed_is_that_of_the_fastest_set_point_and_not_of_a_row_as_a_whole() -> None:
    arm = PlanarArm(Solvable())
    arm.joints = np.array([0.5, -2.0, 0.0])
    stretch = rows({"target_joints": np.array([0.5, -0.4, 0.0])}, step=1.0)
    q = np.linspace(arm.joints, stretch[0]["action"]["target_joints"], 101)
    places = np.array([Planar().forward(at)[:3] for at in q])
    fastest = np.linalg.norm(np.diff(places, axis=0), axis=1).max() / 0.01
    limits = SafetyLimits(joint_offset=2.0, position_offset=2.0, rotation_offset=3.0, angular_velocity=9.0)
    play(arm, guard_of(arm, replace(limits, linear_velocity=1.0001 * fastest), fps=1), stretch)
    arm.joints = np.array([0.5, -2.0, 0.0])
    with pytest.raises(InvalidAction, match="linear_velocity allows"):
        play(arm, guard_of(arm, replace(limits, linear_velocity=0.9999 * fastest), fps=1), stretch)


def test_an_acceleration_is_from_one_command_to_the_next_however_far_the_joints_go() -> None:
    """From rest to 2 rad/s in half a second: the joints go 1 rad, in many points."""
    chunk = rows({"joint_delta": [0.0, 0.0, 0.5]}, step=0.5)
    for name in ("angular_acceleration", "joint_acceleration"):
        limits = replace(BY_JOINTS, joint_offset=2.0, rotation_offset=2.0)
        arm = PlanarArm(Solvable())
        play(arm, guard_of(arm, replace(limits, **{name: 2.01}), fps=2), chunk)
        assert f"by 2 rad/s²; {name} allows 1.99" in refusal(
            chunk, limits=replace(limits, **{name: 1.99}), fps=2
        ).replace("accelerates joint 3 at 2", "by 2")


def test_joint_deltas_add_up_in_what_is_checked() -> None:
    step = {"joint_delta": np.array([-0.19, 0, 0])}
    assert "joint_delta of row 0 moves joint 1 at 4.5 rad/s" in refusal(rows({"joint_delta": [0.45, 0, 0]}))
    says = refusal(rows(*[step] * 20))
    assert "outside the workspace" in says
    assert "joint_delta of row" in says


def test_the_gripper_has_a_speed_where_that_is_stated() -> None:
    close = rows({"target_grip": [1.0]})
    arm = PlanarArm(Solvable())
    play(arm, guard_of(arm), close)
    assert "moves the gripper at 10/s; grip_velocity allows 2" in refusal(close, limits=SafetyLimits(grip_velocity=2.0))
    with pytest.raises(BadObservation, match="lacks grip"):
        guard_of(arm, SafetyLimits(grip_velocity=2.0)).plan(close, {"robot_state.q": HOME})


# -- from one kind to another ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinematics", [Planar(), Solvable()])
def test_a_jump_between_kinds_is_seen_by_forward_kinematics(kinematics: Planar) -> None:
    walk = [shifted(-0.03 * (i + 1)) for i in range(4)]
    arm = PlanarArm(kinematics)
    says = refusal(rows(*walk, {"target_joints": HOME}), arm, SafetyLimits())
    assert "target_joints of row 4 moves" in says
    back = PlanarArm(kinematics)
    jump = rows(moved(0.15, 0, 0), moved(0.3, 0, 0), {"target_pose": POSE})
    assert "target_pose of row 2 moves" in refusal(jump, back, SafetyLimits())


@pytest.mark.parametrize("kinematics", [Planar(), Solvable()])
def test_kinds_that_follow_each_other_closely_pass(kinematics: Planar) -> None:
    arm = PlanarArm(kinematics)
    guard = guard_of(arm)
    play(arm, guard, rows(moved(0.05, 0, 0), {"target_pose": Planar().forward(joints(0.1, 0, 0))}, moved(0.15, 0, 0)))
    play(arm, guard, rows({"joint_delta": np.array([-0.1, 0, 0])}, moved(0, 0, 0)))
    np.testing.assert_allclose(arm.joints, HOME, atol=1e-9)


def test_an_elbow_that_turns_over_behind_a_pose_is_seen() -> None:
    over = HOME.copy()
    over[:] = Solvable().solve(POSE, -HOME)  # the same pose, the elbow on its other side
    np.testing.assert_allclose(Planar().forward(over), POSE, atol=1e-9)
    for kinematics in (Planar(), Solvable()):
        still = rows({"target_pose": POSE}, {"target_joints": over})
        assert "target_joints of row 1" in refusal(still, PlanarArm(kinematics))


def test_what_nothing_can_compare_is_refused_by_what_is_lacking() -> None:
    arm = PlanarArm()
    seen = {**arm.observe(), "robot_state.ee_pose": POSE}
    for chunk in (rows({"target_pose": POSE}, moved(0, 0, 0)), rows(moved(0, 0, 0), {"target_pose": POSE})):
        with pytest.raises(InvalidAction, match=r"nothing compares the two; .* kinematics with forward\(q\)"):
            guard_of(arm, ANYWHERE).plan(chunk, seen)
    with pytest.raises(InvalidAction, match=r"nobody knows the joints .* solve\(pose, near\)"):
        guard_of(arm, ANYWHERE).plan(rows({"target_pose": POSE}, {"joint_delta": np.zeros(3)}), seen)


def test_a_row_that_commands_the_arm_twice_or_not_at_all() -> None:
    assert "target_pose and target_joints both command the arm" in refusal(
        rows({"target_pose": POSE, "target_joints": HOME})
    )
    arm = PlanarArm(Solvable())
    play(arm, guard_of(arm), rows(moved(0.1, 0, 0), {"target_grip": [1.0]}, {}, moved(0.2, 0, 0)))
    np.testing.assert_allclose(arm.joints, joints(0.2, 0, 0))


# -- from one chunk to the next ------------------------------------------------------------------------------------


def test_the_last_command_counts_even_if_the_arm_lags_behind_it() -> None:
    arm = PlanarArm(Solvable())
    guard = guard_of(arm)
    for command in guard.plan(rows(*[moved(0.18 * (i + 1), 0, 0) for i in range(4)]), arm.observe()):
        if command.row == 2:
            break  # two rows were played: 0.36 rad, the third is under way
    lagging = {"robot_state.q": joints(0.3, 0, 0), "robot_state.ee_pose": Planar().forward(joints(0.3, 0, 0))}
    with pytest.raises(InvalidAction, match=r"moves joint 1 at 5\.4 rad/s"):
        guard.plan(rows(moved(0, 0, 0)), lagging)
    list(guard.plan(rows(moved(0.6, 0, 0)), lagging))
    guard.reset()
    list(guard.plan(rows(moved(0.15, 0, 0)), {"robot_state.q": HOME}))


@pytest.mark.parametrize(
    "back",
    [moved(0.0, 0, 0), {"joint_delta": np.array([-0.1, 0, 0])}, {"target_pose": POSE}],
    ids=["q", "delta", "pose"],
)
def test_an_acceleration_counts_across_the_boundary_of_chunks_in_joints_and_at_the_tool(back: dict[str, Any]) -> None:
    for name, stated in (("joint_acceleration", 15.0), ("linear_acceleration", 6.0)):
        arm = PlanarArm(Solvable())
        guard = guard_of(arm, replace(BY_JOINTS, **{name: stated}))
        play(arm, guard, rows(moved(0.1, 0, 0)))  # at 1 rad/s, and back at 1 rad/s
        with pytest.raises(InvalidAction, match=rf"{name} allows {stated:g}"):
            guard.plan(rows(back), arm.observe())
        guard.rest()
        play(arm, guard, rows(back))


def test_the_first_command_is_near_to_what_is_measured_though_the_arm_is_stuck() -> None:
    arm = PlanarArm(Solvable())
    guard = guard_of(arm)
    stuck = arm.observe()
    for at in (0.19, 0.38):
        list(guard.plan(rows(moved(at, 0, 0)), stuck))
    with pytest.raises(InvalidAction, match=r"puts joint 1 0\.570 rad away from where it was measured"):
        guard.plan(rows(moved(0.57, 0, 0)), stuck)


def test_null_holds_and_no_rows_are_no_commands() -> None:
    arm = PlanarArm(Solvable())
    guard = guard_of(arm)
    (hold,) = guard.plan(None, arm.observe())
    assert (hold.action, hold.seconds) == ({}, pytest.approx(0.1))
    (hold,) = guard.plan(None, arm.observe(), left=0.03)
    assert hold.seconds == pytest.approx(0.03)
    assert list(guard.plan([], arm.observe())) == []


# -- where it may lead ---------------------------------------------------------------------------------------------


def test_the_workspace_holds_for_every_kind() -> None:
    box = SafetyLimits(workspace_low=(-1, -1, 0.3), joint_velocity=3.0, position_offset=1.0)
    down = -0.15
    for chunk in (
        [shifted(0, -0.08 * (i + 1)) for i in range(5)],
        [moved(down * (i + 1), 0, 0) for i in range(5)],
        [{"joint_delta": np.array([down, 0, 0])}] * 5,
    ):
        assert "outside the workspace [-1, -1, 0.3]" in refusal(rows(*chunk), limits=box)


def test_the_way_between_two_commands_stays_in_the_workspace_too() -> None:
    arm = PlanarArm(Planar())
    box = SafetyLimits(workspace_low=(-1, -1, 0.0), joint_offset=9.0, position_offset=9.0, rotation_offset=9.0)
    begin, end = np.array([-0.3, 0.0, 0.0]), np.array([-math.pi + 0.3, 0.0, 0.0])
    assert Planar().forward(begin)[2] > 0
    assert Planar().forward(end)[2] > 0
    arm.joints = begin
    with pytest.raises(InvalidAction, match="outside the workspace"):
        guard_of(arm, box, fps=0.2).plan(rows({"target_joints": end}), arm.observe())


def test_a_workspace_that_cannot_be_held_is_refused_at_the_start() -> None:
    says = r"workspace cannot be held for target_joints: .* with forward\(q\), .* \[kinematics\]; or .* workspace_low"
    for names in (["target_joints"], []):
        with pytest.raises(ConfigurationError, match=says):
            Guard(PlanarArm(), SafetyLimits(), meta(*names))
    poses_only = Guard(PlanarArm(), SafetyLimits(), meta("target_pose"))
    with pytest.raises(InvalidAction, match="target_joints; the handshake announced target_pose"):
        poses_only.plan(rows(moved(0, 0, 0)), PlanarArm().observe())


RANGE = replace(BY_JOINTS, joint_low=(0.9, -2.0, -1.0), joint_high=(1.25, 0.0, 1.0))


def test_the_joints_stay_in_their_range_whatever_leads_them_there() -> None:
    for chunk in (
        [moved(0.09 * (i + 1), 0, 0) for i in range(4)],
        [{"joint_delta": np.array([0.09, 0, 0])}] * 4,
        [{"target_pose": Planar().forward(joints(0.09 * (i + 1), 0, 0))} for i in range(4)],
    ):
        says = refusal(rows(*chunk), limits=RANGE)
        assert "of row 2 sends joint 1 to 1.27 rad; 0.9 … 1.25 rad are allowed" in says
    arm = PlanarArm(Solvable())
    play(arm, guard_of(arm, RANGE), rows(moved(0.18, 0, 0), moved(0.25, 0, 0)))


def test_a_range_of_the_joints_that_cannot_be_held_for_a_pose_is_refused_at_the_start() -> None:
    says = r"range of the joints cannot be held for target_pose: .* solve\(pose, near\)"
    for names in (["target_pose"], []):
        for kinematics in (None, Planar()):
            limits = replace(RANGE, workspace_low=None, workspace_high=None)
            with pytest.raises(ConfigurationError, match=says):
                Guard(PlanarArm(kinematics), limits, meta(*names))
    Guard(PlanarArm(Planar()), RANGE, meta("target_joints", "joint_delta"))
    seen = {"robot_state.ee_pose": POSE}
    with pytest.raises(BadObservation, match=r"lacks robot_state\.q, and the joints have a range"):
        guard_of(PlanarArm(Solvable()), RANGE).plan(rows({"target_pose": POSE}), seen)


def test_what_nothing_can_hold_of_the_joints_for_a_pose_is_refused_or_said() -> None:
    limits = replace(ANYWHERE, joint_acceleration=4.0)
    with pytest.raises(ConfigurationError, match=r"acceleration of the joints cannot be held for target_pose: "):
        guard_of(PlanarArm(Planar()), limits, ["target_pose"])
    guard_of(PlanarArm(Planar()), limits, ["target_joints"])
    guard_of(PlanarArm(Solvable()), limits, ["target_pose"])
    says = RobotLimits().unheld(PlanarArm(Planar()), ["target_pose"])
    assert says is not None
    assert says.startswith("joint_velocity cannot be held for target_pose: ")
    assert RobotLimits().unheld(PlanarArm(Planar()), ["target_joints"]) is None
    assert RobotLimits().unheld(PlanarArm(Solvable()), ["target_pose"]) is None


def test_a_range_for_another_arm_is_named() -> None:
    with pytest.raises(ConfigurationError, match="joint_low states 2 joints, the robot has 3"):
        guard_of(PlanarArm(Solvable()), replace(BY_JOINTS, joint_low=(0.0, 0.0), joint_high=2.0)).plan(
            rows(moved(0, 0, 0)), PlanarArm().observe()
        )


def test_the_gripper_stays_in_its_range() -> None:
    limits = replace(BY_JOINTS, grip_low=0.1, grip_high=0.8)
    assert "target_grip of row 1 closes the gripper to 0.9; 0.1 … 0.8 are allowed" in refusal(
        rows({"target_grip": [0.8]}, {"target_grip": [0.9]}), limits=limits
    )
    assert "closes the gripper to 0; 0.1" in refusal(rows({"target_grip": [0.0]}), limits=limits)


def test_the_kinematics_may_come_from_elsewhere_but_not_twice() -> None:
    arm = PlanarArm()
    guard = Guard(arm, SafetyLimits(workspace_low=(-1, -1, 0.42)), meta("target_joints"), Planar())
    with pytest.raises(InvalidAction, match="outside the workspace"):
        guard.plan(rows(moved(-0.1, 0, 0)), arm.observe())
    with pytest.raises(ConfigurationError, match="kinematics of its own"):
        Guard(PlanarArm(Planar()), SafetyLimits(), meta("target_joints"), Planar())


class Texts(PlanarArm):
    actions: Any = "target_joints"  # pyright: ignore


class JointsAlone(PlanarArm):
    actions = frozenset({"target_joints"})


def test_what_a_newcomer_gives_the_guard_by_mistake_is_named_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="the robot's actions are 'target_joints'; a set was expected"):
        Guard(Texts(), ANYWHERE, meta("target_joints"))
    with pytest.raises(ConfigurationError, match=r"the limits are a dict; SafetyLimits\(…\) was expected"):
        Guard(PlanarArm(), cast("Any", {"joint_velocity": 0.5}), meta("target_joints"))
    with pytest.raises(ConfigurationError, match=r"action_fps is null, and can be 0\.01 to 10000"):
        Guard(PlanarArm(), ANYWHERE, {"action": {"target_joints": {}}})


def test_a_server_that_announced_no_actions_is_not_said_to_have() -> None:
    guard = Guard(JointsAlone(), ANYWHERE, meta())
    with pytest.raises(InvalidAction, match=r"commands target_grip; this robot plays target_joints$"):
        guard.plan(rows({"target_grip": np.array([0.5])}), PlanarArm().observe())


def test_what_a_robot_writes_into_its_command_is_not_where_it_was_sent() -> None:
    """One that adds the length of its tool in place."""
    arm = PlanarArm(Solvable())
    guard = guard_of(arm)
    pose = np.array(POSE)
    for command in guard.plan(rows({"target_pose": pose}, {"target_pose": pose}), arm.observe()):
        command.action["target_pose"][:3] += 0.1
    for command in guard.plan(rows({"target_pose": pose}), arm.observe()):
        np.testing.assert_allclose(command.action["target_pose"], pose)
