"""Where commands lead and how fast, in the joints and at the end effector, as far as either is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from offboard_client.errors import BadObservation, InvalidAction

from .limits import Limits
from .poses import Vector, closure, distance, pose, twist, vector
from .robot import Kinematics

#: How far ``kinematics.forward`` may be from the measured pose, m and rad: more is another frame or another tool.
AGREEMENT = (0.03, 0.1)
#: Between two points of a path that are checked no joint moves farther, rad: an arc of 1 m radius stays within 1.3 mm.
_ARC = 0.1


@dataclass(frozen=True)
class State:
    """Where a command leads, or where the robot was measured. None: not known.

    ``exact``: whether ``joints`` are those of the command itself, and not those last known before a pose. ``twist`` and
    ``joint_velocity``: on the way there; None at rest.
    """

    pose: Vector | None = None
    joints: Vector | None = None
    exact: bool = True
    grip: float | None = None
    twist: Vector | None = None
    joint_velocity: Vector | None = None


class Motion:
    """Commands of one robot, one after the other, checked against its limits.

    ``at``: where the command before leads. ``measured``: what the observation says, None if the arm has been commanded
    since. ``what``: the command as a person would call it. Raises InvalidAction, and BadObservation where a measurement
    is lacking.
    """

    def __init__(self, limits: Limits, kinematics: Kinematics | None) -> None:
        self._limits = limits
        self._kinematics = kinematics
        self._solve: Any = getattr(kinematics, "solve", None)

    def measure(self, observation: Mapping[str, Any]) -> State:
        """What the observation says of the robot."""
        q: Any = observation.get("robot_state.q")
        ee: Any = observation.get("robot_state.ee_pose")
        grip: Any = observation.get("grip")
        joints = None if q is None else vector(q, None, "the measured robot_state.q")
        where = None if ee is None else pose(ee, "the measured robot_state.ee_pose")
        if joints is not None and self._kinematics is not None:
            computed = self._forward(joints)
            where = computed if where is None else where
            metres, radians = distance(computed, where)
            if metres > AGREEMENT[0] or radians > AGREEMENT[1]:
                raise BadObservation(
                    f"robot_state.ee_pose is {metres:.3f} m and {radians:.2f} rad away from where the robot's "
                    "kinematics see it for robot_state.q; both must speak of one tool in one frame"
                )
        if grip is None or self._limits.grip_velocity is None:
            return State(where, joints)
        return State(where, joints, grip=float(vector(np.atleast_1d(grip), 1, "the measured grip")[0]))

    def grip(self, value: Any, at: State, seconds: float, what: str) -> State:
        """``at`` with another closure."""
        target = closure(value, what)
        if self._limits.grip_velocity is not None:
            if at.grip is None:
                raise BadObservation("the observation lacks grip, and grip_velocity is limited; observe it, or free it")
            self._limits.check_grip_velocity(abs(target - at.grip) / seconds, what)
        return replace(at, grip=target)

    def to_pose(self, value: Any, at: State, measured: State | None, seconds: float, what: str) -> State:
        """Where a ``target_pose`` leads."""
        after = replace(at, pose=pose(value, what), exact=False, twist=None, joint_velocity=None)
        if self._solve is not None and at.joints is not None:
            try:
                joints = vector(
                    self._solve(after.pose, at.joints), len(at.joints), "what the kinematics' solve returns"
                )
            except InvalidAction as error:
                raise InvalidAction(f"{what}: {error.text}") from None
            after = replace(after, joints=joints, exact=True)
        # What was commanded is looked at first, for it is what somebody can mend; then what follows from it.
        self._near_pose(after, measured, what)
        self._near_joints(after, measured, what)
        after = self._move_tool(at, after, seconds, what)
        return _compared(self._move_joints(at, after, seconds, what), what)

    def to_joints(self, name: str, value: Any, at: State, measured: State | None, seconds: float, what: str) -> State:
        """Where ``target_joints`` or a ``joint_delta`` leads."""
        if at.joints is None:
            raise BadObservation(f"the observation lacks robot_state.q, which {what} is compared with; observe it")
        if self._limits.workspace_low is not None and self._kinematics is None:
            raise InvalidAction(no_workspace(name))
        joints = vector(value, len(at.joints), what)
        if name == "joint_delta":
            # It counts from what is measured when it is played; as far as anybody knows before, the arm has followed.
            known = at if measured is None else measured
            if not known.exact or known.joints is None:
                raise InvalidAction(
                    f"{what} follows a pose, and nobody knows the joints of that before it is reached; "
                    "a robot whose kinematics have solve(pose, near) could"
                )
            velocity = joints / seconds
            self._limits.check_joint_velocity(velocity, velocity, seconds, what)
            joints = known.joints + joints
        after = replace(at, pose=None, joints=joints, exact=True, twist=None, joint_velocity=None)
        self._near_joints(after, measured, what)
        after = self._move_joints(at, after, seconds, what)
        if self._kinematics is not None:
            after = replace(after, pose=self._forward(joints))
            self._near_pose(after, measured, what)
        return _compared(self._move_tool(at, after, seconds, what), what)

    def _forward(self, joints: Vector) -> Vector:
        assert self._kinematics is not None
        return pose(self._kinematics.forward(joints), "what the robot's kinematics.forward(q) returns")

    def _near_joints(self, after: State, measured: State | None, what: str) -> None:
        if measured is not None and after.exact and after.joints is not None and measured.joints is not None:
            self._limits.check_joint_offset(after.joints, measured.joints, what)

    def _near_pose(self, after: State, measured: State | None, what: str) -> None:
        if measured is None or after.pose is None:
            return
        if measured.pose is None:
            raise BadObservation(
                f"the observation lacks robot_state.ee_pose, which {what} is compared with; observe it, or "
                "robot_state.q and give the robot kinematics"
            )
        self._limits.check_pose_offset(after.pose, measured.pose, what)

    def _move_joints(self, at: State, after: State, seconds: float, what: str) -> State:
        """``after`` with the joints' velocity on the way there. Raises InvalidAction where that is too high."""
        if not after.exact or after.joints is None or at.joints is None:
            return after
        if not at.exact:
            self._limits.check_joint_offset(after.joints, at.joints, what)
            return after
        velocity = (after.joints - at.joints) / seconds
        before = np.zeros_like(velocity) if at.joint_velocity is None else at.joint_velocity
        self._limits.check_joint_velocity(velocity, before, seconds, what)
        return replace(after, joint_velocity=velocity)

    def _move_tool(self, at: State, after: State, seconds: float, what: str) -> State:
        """``after`` with the end effector's velocity at its end. Raises InvalidAction where the way is not allowed."""
        if after.pose is None or at.pose is None:
            return after
        velocity = np.zeros(6) if at.twist is None else at.twist
        path = self._path(at, after)
        for begin, end in zip([at.pose, *path], path, strict=False):
            self._limits.check_place(end[:3], what)
            step = twist(begin, end, seconds / len(path))
            self._limits.check_twist(step, velocity, seconds / len(path), what)
            velocity = step
        return replace(after, twist=velocity)

    def _path(self, at: State, after: State) -> list[Vector]:
        """Poses on the way to ``after``, its own last; on a line of the joints where those of both ends are known."""
        assert after.pose is not None
        if not (self._kinematics and at.exact and after.exact) or at.joints is None or after.joints is None:
            return [after.pose]
        step = after.joints - at.joints
        points = max(math.ceil(float(np.abs(step).max(initial=0.0)) / _ARC), 1)
        return [*(self._forward(at.joints + step * (i / points)) for i in range(1, points)), after.pose]


def no_workspace(name: str) -> str:
    """The text about a workspace that nobody can hold for a command of joints."""
    return (
        f"the workspace cannot be held for {name}: the robot has no kinematics to say where joints lead. Give it "
        "kinematics with forward(q), or Limits(workspace_low=None, workspace_high=None)"
    )


def _compared(after: State, what: str) -> State:
    if after.twist is None and after.joint_velocity is None:
        raise InvalidAction(
            f"{what} follows a command of another kind, and nothing compares the two; give the robot kinematics "
            "with forward(q), or serve with a codec that makes one of them only"
        )
    return after
