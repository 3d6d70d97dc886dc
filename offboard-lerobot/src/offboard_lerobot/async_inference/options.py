"""The options of the port for LeRobot's robots, ``--lerobot.NAME``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RobotClientOptions:
    """How robots that run LeRobot's ``robot_client`` are understood."""

    units: Literal["degrees", "range"] | None = None
    """What the joints of the robots count in, which their protocol does not say: degrees, or a range from -100 to 100
    (use_degrees of the robot). Needed for models that say what theirs count in, which is then held against it."""
    actions: tuple[str, ...] = ()
    """What the robots play, in the order of their action_features, which their protocol does not say; without it as
    many numbers as they measure, under the same names."""
    silence: float = 120.0
    """Seconds after which a robot that asks nothing is forgotten, and has to start its client anew."""

    def __post_init__(self) -> None:
        if self.units not in (None, "degrees", "range"):
            raise ValueError(f"units is {self.units!r:.40}, expected degrees or range")
        for name in self.actions:
            if not name or not name.isprintable() or self.actions.count(name) > 1:
                raise ValueError(f"actions has {name!r:.40}, expected each name once")
        if not (0 < self.silence < math.inf):
            raise ValueError(f"silence is {self.silence!r:.40}, expected seconds above 0")
