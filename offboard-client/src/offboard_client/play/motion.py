"""Where commands lead and how fast, in the joints and at the end effector, as far as either is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import BadObservation, ConfigurationError, InvalidAction
from ..robots import Kinematics, Vector, closure, distance, pose, poses, twists, vector
from .safety import SafetyLimits

#: How far ``kinematics.forward`` may be from the measured pose, m and rad: more is another frame or another tool.
AGREEMENT = (0.03, 0.1)
#: Between two points of a path that are checked no joint moves farther, rad, however far set-points are apart: an arc
#: of 1 m radius stays within 1.3 mm.
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

    @property
    def arm(self) -> bool:
        """Whether anything is known of the arm."""
        return self.pose is not None or self.joints is not None


class Motion:
    """Commands of one robot, one after the other, checked against its limits.

    ``at``: where the command before leads. ``measured``: what the observation says, None if the arm has been commanded
    since. ``what``: the command as a person would call it. Raises InvalidAction, and BadObservation where a measurement
    is lacking.
    """

    def __init__(self, limits: SafetyLimits, kinematics: Kinematics | None, control_period: float) -> None:
        self._limits = limits
        self._kinematics = kinematics
        self._control_period = control_period
        self._solve: Any = getattr(kinematics, "solve", None)

    def measure(self, observation: Mapping[str, Any]) -> State:
        """What the observation says of the robot."""
        try:
            return self._measured(observation)
        except InvalidAction as error:  # no numbers, or not so many
            raise BadObservation(error.text) from None

    def _measured(self, observation: Mapping[str, Any]) -> State:
        q: Any = observation.get("robot_state.q")
        ee: Any = observation.get("robot_state.ee_pose")
        grip: Any = observation.get("grip")
        joints = None if q is None else vector(q, None, "the measured robot_state.q")
        where = None if ee is None else pose(ee, "the measured robot_state.ee_pose")
        if joints is not None and self._kinematics is not None:
            computed = self._forward([joints])[0]
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
        self._limits.check_grip_range(target, what)
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
        if self._limits.joint_low is not None and not after.exact:
            if self._solve is None:
                raise InvalidAction(no_range())
            raise BadObservation("the observation lacks robot_state.q, and the joints have a range; observe it")
        # What was commanded is looked at first, for it is what can be mended; then what follows from it.
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
            after = replace(after, pose=self._forward([joints])[0])
            self._near_pose(after, measured, what)
        return _compared(self._move_tool(at, after, seconds, what), what)

    def _forward(self, joints: Sequence[Vector]) -> Vector:
        """The poses (n, 7) to which ``joints`` put the end effector."""
        assert self._kinematics is not None
        try:
            return poses(
                [self._kinematics.forward(q) for q in joints], "what the robot's kinematics.forward(q) returns"
            )
        except InvalidAction as error:
            raise ConfigurationError(error.text) from None

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
        """``after`` with the joints' velocity on the way there. Raises InvalidAction where the way is not allowed."""
        if not after.exact or after.joints is None or at.joints is None:
            return after
        self._limits.check_joint_range(after.joints, what)
        if not at.exact:
            self._limits.check_joint_offset(after.joints, at.joints, what)
            return after
        velocity = (after.joints - at.joints) / seconds
        before = np.zeros_like(velocity) if at.joint_velocity is None else at.joint_velocity
        self._limits.check_joint_velocity(velocity, before, seconds, what)
        return replace(after, joint_velocity=velocity)

    def _move_tool(self, at: State, after: State, seconds: float, what: str) -> State:
        """``after`` with the end effector's velocity at its end. Raises InvalidAction where the way is not allowed."""
        if after.pose is None:
            return after
        if at.pose is None:
            self._limits.check_place(after.pose[None, :3], what)
            return after
        before = np.zeros(6) if at.twist is None else at.twist
        path = self._path(at, after, seconds)
        # A solution may be a little beside the pose: it is the pose that is allowed at the border.
        self._limits.check_place(np.array([*path[1:-1, :3], after.pose[:3]]), what)
        velocities = twists(path, seconds / (len(path) - 1))
        self._limits.check_twists(velocities, before, seconds, what)
        return replace(after, twist=velocities[-1])

    def _path(self, at: State, after: State, seconds: float) -> Vector:
        """The poses (n + 1, 7) from ``at`` to ``after``: of each set-point, where the joints of both ends are known."""
        if not (self._kinematics and at.exact and after.exact) or at.joints is None or after.joints is None:
            return np.array([at.pose, after.pose])
        step = after.joints - at.joints
        farthest = float(np.abs(step).max(initial=0.0))
        count = max(round(seconds / self._control_period), math.ceil(farthest / _ARC)) if farthest else 1
        return self._forward([at.joints + step * (i / count) for i in range(count + 1)])


def no_workspace(name: str) -> str:
    """The text about a workspace that nobody can hold for a command of joints."""
    return (
        f"the workspace cannot be held for {name}: the robot has no kinematics to say where joints lead. Give it "
        "kinematics with forward(q), or its limits file [kinematics]; or leave the workspace open there: workspace_low "
        'and workspace_high "none", None in Python'
    )


def no_range(what: str = "the range of the joints", names: str = "joint_low and joint_high") -> str:
    """The text about what nobody can hold for a pose, by the ``names`` that state it."""
    return (
        f"{what} cannot be held for target_pose: nothing says to which joints the robot goes for one. "
        f"Give it kinematics with solve(pose, near), or leave {names} to the robot itself"
    )


def _compared(after: State, what: str) -> State:
    if after.twist is None and after.joint_velocity is None:
        raise InvalidAction(
            f"{what} follows a command of another kind, and nothing compares the two; give the robot kinematics "
            "with forward(q), or serve with a codec that makes one of them only"
        )
    return after
