"""The flags of GR00T's port, ``--gr00t.NAME``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GR00TListenerOptions:
    """How GR00T's clients are understood."""

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
