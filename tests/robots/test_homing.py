"""Bringing an arm somewhere: within the limits, whatever it is stated in, and checked as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guarded import ANYWHERE, BY_JOINTS, guard_of, joints, moved, play, rows
from offboard_client.errors import BadObservation, ConfigurationError, InvalidAction
from offboard_client.play import SafetyLimits, read_place
from offboard_client.robots import twists
from planar_arm import HOME, Planar, PlanarArm, Solvable

FAR = HOME + np.array([-0.9, 1.1, 0.3])


def bring(arm: PlanarArm, limits: SafetyLimits, place: Mapping[str, Any]) -> list[Any]:
    guard = guard_of(arm, limits, names=["target_joints" if limits.workspace_low is None else "target_pose"])
    played = []
    for command in guard.bring(read_place(place, "home"), arm.observe):
        arm.apply(command.action, command.seconds)
        played.append(command)
    return played


def speeds(arm: PlanarArm, begin: np.ndarray = HOME) -> np.ndarray:
    return np.diff([begin, *arm.sent], axis=0) / arm.control_period


@pytest.mark.parametrize("kinematics", [None, Planar(), Solvable()])
def test_joints_go_home_as_fast_as_they_may_and_no_faster(kinematics: Any) -> None:
    limits = replace(ANYWHERE, joint_velocity=(0.5, 1.0, 0.2), linear_velocity=9.0, angular_velocity=9.0)
    arm = PlanarArm(kinematics)
    bring(arm, limits, {"target_joints": FAR})
    np.testing.assert_array_equal(arm.joints, FAR)
    highest = np.abs(speeds(arm)).max(axis=0)
    assert (highest <= np.array([0.5, 1.0, 0.2]) + 1e-9).all()
    assert highest[0] > 0.4, "nor does it creep"
    assert np.abs(speeds(arm)[[0, -1]]).max() < 0.05, "it begins and ends at rest"


@pytest.mark.parametrize("place", [{"target_joints": FAR}, {"target_pose": Planar().forward(FAR)}])
def test_the_end_effector_is_no_faster_than_it_may_be_on_the_way_home(place: Any) -> None:
    limits = SafetyLimits(linear_velocity=0.15, angular_velocity=0.4)
    arm = PlanarArm(Solvable())
    bring(arm, limits, place)
    np.testing.assert_allclose(Planar().forward(arm.joints), Planar().forward(FAR), atol=1e-9)
    moves = twists(np.array([Planar().forward(q) for q in [HOME, *arm.sent]]), arm.control_period)
    assert np.linalg.norm(moves[:, :3], axis=1).max() <= 0.15 + 1e-6
    assert np.linalg.norm(moves[:, 3:], axis=1).max() <= 0.4 + 1e-6


@pytest.mark.parametrize(
    "limited", [{"joint_acceleration": 0.5}, {"linear_acceleration": 0.2}, {"angular_acceleration": 0.3}]
)
@pytest.mark.parametrize("place", [{"target_joints": FAR}, {"target_pose": Planar().forward(FAR)}])
def test_a_way_that_the_accelerations_allow_is_found(limited: Any, place: Any) -> None:
    arm = PlanarArm(Solvable())
    assert bring(arm, SafetyLimits(**limited), place), "and the guard has checked it"
    np.testing.assert_allclose(Planar().forward(arm.joints), Planar().forward(FAR), atol=1e-9)


def test_the_gripper_follows_when_the_arm_is_there() -> None:
    arm = PlanarArm(Solvable())
    played = bring(
        arm, replace(BY_JOINTS, grip_velocity=0.5), {"target_joints": joints(0.3, 0, 0), "target_grip": [0.8]}
    )
    assert ["target_grip" in command.action for command in played] == [False] * (len(played) - 1) + [True]
    assert played[-1].seconds == pytest.approx(1.6)
    assert arm.grip == 0.8


def test_where_it_is_already_nothing_moves() -> None:
    arm = PlanarArm(Solvable())
    assert bring(arm, BY_JOINTS, {"target_joints": HOME}) == []
    assert bring(arm, BY_JOINTS, {}) == []


def test_a_way_that_nobody_would_wait_for_is_refused_before_it_is_laid_out() -> None:
    arm = PlanarArm(Solvable())
    with pytest.raises(InvalidAction, match=r"takes 3\..*e\+11 s, and 600 s are the most: .* in another unit\?"):
        bring(arm, replace(BY_JOINTS, joint_velocity=1e-12), {"target_joints": HOME + 0.15})
    assert arm.sent == []


def test_the_way_stays_in_the_workspace_or_is_refused_before_anything_moves() -> None:
    arm = PlanarArm(Solvable())
    box = SafetyLimits(workspace_low=(-1, -1, 0.35), workspace_high=(1, 1, 0.45))
    with pytest.raises(
        InvalidAction, match=r"target_joints of the way there leads the end effector to .* outside the work"
    ):
        bring(arm, box, {"target_joints": joints(-0.9, 1.8, -0.9)})
    assert arm.sent == []


def test_an_arm_that_does_not_follow_is_not_led_on() -> None:
    class Stuck(PlanarArm):
        def apply(self, action: Mapping[str, Any], seconds: float) -> None:
            self.played.append(action)

    arm = Stuck(Solvable())
    with pytest.raises(InvalidAction, match="away from where it was measured"):
        bring(arm, BY_JOINTS, {"target_joints": FAR})
    assert 0 < len(arm.played) * 0.05 <= 1.0 + 1e-9


def test_home_is_forgotten_once_it_is_there_so_that_any_kind_may_follow() -> None:
    arm = PlanarArm(Planar())
    guard = guard_of(arm, BY_JOINTS)
    play(arm, guard, rows({"target_pose": Planar().forward(joints(0.05, 0, 0))}))
    for command in guard.bring(read_place({"target_joints": HOME}, "home"), arm.observe):
        arm.apply(command.action, command.seconds)
    arm.joints = joints(-0.3, 0, 0)  # led by hand
    play(arm, guard, rows(moved(-0.25, 0, 0)))


def test_what_is_lacking_is_named() -> None:
    arm = PlanarArm()
    with pytest.raises(BadObservation, match=r"lacks robot_state\.ee_pose, where the way to target_pose begins"):
        bring(arm, ANYWHERE, {"target_pose": Planar().forward(FAR)})
    with pytest.raises(InvalidAction, match="leads to 2 joints; this robot has 3"):
        bring(arm, ANYWHERE, {"target_joints": [0.0, 0.0]})


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"joint_delta": [0.1]}, "which is no place; say target_joints or target_pose"),
        ({"target_jonits": [0.1]}, "did you mean target_joints"),
        ({"target_joints": [0.1], "target_pose": [0.4, 0, 0.3, 1, 0, 0, 0]}, "both command the arm; state one"),
        ({"target_joints": [0.1, float("nan")]}, "not finite"),
        ({"target_joints": 0.1}, "target_joints of home must have shape"),
        ({"target_pose": [0.4, 0, 0.3, 1, 1, 0, 0]}, "length 1.414"),
        ({"target_grip": [1.2]}, "0 is open and 1 is closed"),
    ],
)
def test_what_is_no_place_is_refused_by_name(place: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_place(place, "home")


@pytest.mark.parametrize(
    ("place", "limits", "kinematics", "says"),
    [
        ({"target_joints": FAR}, replace(ANYWHERE, joint_low=-1.0, joint_high=0.5), None, "home sends joint 3"),
        (
            {"target_joints": FAR},
            SafetyLimits(workspace_low=(0, 0, 1), workspace_high=(1, 1, 2)),
            Planar(),
            "home leads",
        ),
        ({"target_pose": [0.4, 0, 3, 1, 0, 0, 0]}, SafetyLimits(), Planar(), "home leads the end effector"),
        ({"target_grip": [0.9]}, replace(ANYWHERE, grip_high=0.8), None, "closes the gripper to 0.9"),
        (
            {"target_pose": [0.4, 0, 0.3, 1, 0, 0, 0]},
            replace(ANYWHERE, joint_low=-9, joint_high=9),
            None,
            "range of the",
        ),
    ],
)
def test_a_place_that_the_robot_may_not_be_at_is_found_before_it_moves(
    place: Any, limits: SafetyLimits, kinematics: Any, says: str
) -> None:
    class Joints(PlanarArm):
        actions = frozenset({"target_joints", "target_grip", "target_pose"})

    guard = guard_of(Joints(kinematics), limits, names=("target_joints",))
    with pytest.raises(ConfigurationError, match=says):
        guard.check_place(read_place(place, "home"), "home")


def test_a_place_in_what_the_robot_does_not_play_is_refused() -> None:
    class Joints(PlanarArm):
        actions = frozenset({"target_joints"})

    with pytest.raises(ConfigurationError, match="home is stated in target_grip; this robot plays target_joints"):
        guard_of(Joints(), ANYWHERE).check_place(read_place({"target_grip": [0.0]}, "home"), "home")
