"""What a driver asks of a robot. The simulated arm implements it; a real arm's driver does the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .poses import Vector


class Kinematics(Protocol):
    """Where the end effector is, by the joints. Poses are those of ``robot_state.ee_pose``: same frame, same tool.

    It may also have ``solve(pose, near) -> q``: the joints that the robot goes to for a ``target_pose`` when they are
    ``near`` before, in a straight line of the joints; InvalidAction for a pose out of reach. Then poses are checked for
    reach, and for the speed of the joints, before anything moves.
    """

    def forward(self, q: Vector) -> Vector:
        """Joints (n,) in rad → pose (7,): x y z in m, unit quaternion w x y z, in the arm's base frame."""
        ...


class Robot(Protocol):
    """One robot with its cameras and its task."""

    @property
    def actions(self) -> frozenset[str]:
        """The action names it can play (``target_pose``, ``target_joints`` …)."""
        ...

    @property
    def control_period(self) -> float:
        """Seconds from one set-point that the hardware takes to the next. The robot's own, whatever a server says."""
        ...

    @property
    def kinematics(self) -> Kinematics | None:
        """What joints mean for the end effector, or None; a workspace for joint commands needs it."""
        ...

    def reset(self, seed: int) -> None:
        """Go to where an episode starts. ``seed`` fixes whatever is random about that."""
        ...

    def observe(self) -> dict[str, Any]:
        """What is measured now, by canonical names; of ``robot_state.ee_pose`` and ``robot_state.q`` what it has."""
        ...

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        """Go to what one row commands, evenly in ``seconds``, a whole number of control periods; then return.

        What ``Guard`` of ``play`` hands out are float64 vectors: a unit quaternion in ``target_pose``, ``target_grip``
        from 0 to 1.
        Evenly: a set-point in each control period, on a straight line from the last command. Limits are about that
        speed, so a robot that jumps there at once breaks them. A name that is absent keeps its last command; so an
        empty action holds still. Raises InvalidAction, before anything moves, for a name it cannot play, a wrong shape,
        a number that is not finite, a pose out of reach.
        """
        ...

    def succeeded(self) -> bool | None:
        """Whether the task is done, as far as the robot can tell; None where it cannot."""
        ...
