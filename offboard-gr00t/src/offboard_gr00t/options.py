"""The flags of GR00T's port, ``--gr00t.NAME``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

#: The key sets that are known.
Keys = Literal[
    "ee_quat", "ee_quat_joints", "ee_rot6d", "ee_rot6d_joints", "ee_quat_traj", "ee_rot6d_traj", "ee_quat_joints_traj",
    "ee_rot6d_joints_traj", "joints_traj",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GR00TListenerOptions:
    """How GR00T's clients are understood."""

    codec: Keys | None = None
    """Which keys the robots send and which actions they play: those of the codec of this name. null: their keys are the
    model's, and pass through as they are."""
    model: str | None = None
    """The model that the robots drive; null: the server's default. GR00T's protocol has no word for it."""
    generation: Literal["n1.5", "n1.6", "n1.7"] | None = None
    """Of which generation the clients are. null: told by each client's first observation; only one that asks for the
    modalities before that, and is of N1.5, needs it said."""
    silence: float = 120.0
    """Seconds after which a robot that says nothing is taken for gone, and lets go of the model."""

    def __post_init__(self) -> None:
        if self.generation not in (None, "n1.5", "n1.6", "n1.7"):
            raise ValueError(f"generation is {self.generation!r:.40}, expected n1.5, n1.6 or n1.7")
        if not (0 < self.silence < math.inf):
            raise ValueError(f"silence is {self.silence!r:.40}, expected seconds above 0")
