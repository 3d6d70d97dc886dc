"""What a rig asks of a robot. The simulated arm implements it; a real arm's driver does the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Robot(Protocol):
    """One robot with its cameras and its task."""

    @property
    def actions(self) -> frozenset[str]:
        """The action names it can play (``target_pose``, ``target_joints`` …)."""
        ...

    def reset(self, seed: int) -> None:
        """Go to where an episode starts. ``seed`` fixes whatever is random about that."""
        ...

    def observe(self) -> dict[str, Any]:
        """What is measured now, by canonical names; at least ``robot_state.ee_pose`` and ``robot_state.q``."""
        ...

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        """Play one row for its time; returns when that is over. A name that is absent keeps its last command.

        So an empty action holds still. Raises InvalidAction, before anything moves, for a name it cannot
        play, a wrong shape, a number that is not finite, a pose out of reach.
        """
        ...

    def succeeded(self) -> bool | None:
        """Whether the task is done, as far as the robot can tell; None where it cannot."""
        ...
