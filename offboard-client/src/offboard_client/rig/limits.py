"""What a robot may be sent: a chunk that asks for more is refused whole, before its first row is played."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import ConfigurationError, InvalidAction

from .poses import Vector, closure, distance, pose, vector


@dataclass(frozen=True)
class Limits:
    """Steps between a row and the one before it; for the first row of a chunk, from what is measured.

    A quaternion in another order, degrees sent for radians, another frame or swapped joints: they all put the
    first action far from where the robot is, and are refused. The defaults are generous, for a table-top arm
    and rows at 5 Hz and more.
    """

    position_step: float = 0.15
    """How far the end effector may be sent in one row, m."""
    rotation_step: float = 0.8
    """How far it may be turned in one row, rad."""
    joint_step: float = 0.5
    """How far a joint may be sent in one row, rad."""
    workspace_low: tuple[float, float, float] = (-0.85, -0.85, 0.0)
    """The lowest x y z of a target pose, m in the arm base frame."""
    workspace_high: tuple[float, float, float] = (0.85, 0.85, 1.2)
    """The highest."""

    def __post_init__(self) -> None:
        # Written so that NaN, which nothing is above, does not switch a check off.
        for name in ("position_step", "rotation_step", "joint_step"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"the limit {name} is {getattr(self, name)}; expected a number above 0")
        if not all(low < high for low, high in zip(self.workspace_low, self.workspace_high, strict=True)):
            raise ConfigurationError(
                f"the workspace {list(self.workspace_low)} … {list(self.workspace_high)} m holds no point; "
                "expected each number of workspace_low below that of workspace_high"
            )

    def check(self, actions: Sequence[Mapping[str, Any]], observation: Mapping[str, Any]) -> None:
        """Raises InvalidAction naming the row, what it asks for and what is allowed."""
        last_pose = pose(observation["robot_state.ee_pose"], "the measured robot_state.ee_pose")
        last_joints = vector(observation["robot_state.q"], None, "the measured robot_state.q")
        for number, action in enumerate(actions):
            before = "the row before" if number else "the measured one"
            if "target_pose" in action:
                target = pose(action["target_pose"], f"target_pose of row {number}")
                self._pose(target, last_pose, number, before)
                last_pose = target
            if "target_joints" in action:
                joints = vector(action["target_joints"], len(last_joints), f"target_joints of row {number}")
                self._joints(joints - last_joints, f"target_joints of row {number}", before)
                last_joints = joints
            if "joint_delta" in action:
                delta = vector(action["joint_delta"], len(last_joints), f"joint_delta of row {number}")
                self._joints(delta, f"joint_delta of row {number}", "zero")
            if "target_grip" in action:
                closure(action["target_grip"], f"target_grip of row {number}")

    def _pose(self, target: Vector, last: Vector, number: int, before: str) -> None:
        low, high = self.workspace_low, self.workspace_high
        if not all(a <= v <= b for v, a, b in zip(target[:3], low, high, strict=True)):
            raise InvalidAction(
                f"target_pose of row {number} lies at {target[:3].round(3).tolist()} m, outside the workspace "
                f"{list(low)} … {list(high)} m (arm base frame)"
            )
        metres, radians = distance(target, last)
        if metres > self.position_step or radians > self.rotation_step:
            raise InvalidAction(
                f"target_pose of row {number} is {metres:.3f} m and {math.degrees(radians):.0f} degrees away from "
                f"{before}; {self.position_step:g} m and {math.degrees(self.rotation_step):.0f} degrees are allowed. "
                "Check the frame and the quaternion's order (w x y z)"
            )

    def _joints(self, step: Vector, name: str, before: str) -> None:
        if len(step) and (worst := float(abs(step).max())) > self.joint_step:
            raise InvalidAction(
                f"{name} moves joint {int(abs(step).argmax()) + 1} by {worst:.3f} rad from {before}; "
                f"{self.joint_step:g} rad are allowed. Check the unit (radians) and the order of the joints"
            )
