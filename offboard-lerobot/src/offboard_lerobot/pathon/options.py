"""The options of PathOn-AI's protocol, ``--lerobot.pathon.NAME``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

from offboard_client.wire import WireLimits

#: No answer has more steps (R-25 of the protocol).
_MOST_STEPS = WireLimits().chunk_steps
#: The key sets that are known.
Keys = Literal["ee", "ee_traj", "joints", "joints_traj"]


@dataclass(frozen=True, kw_only=True)
class PathOnOptions:
    """How PathOn-AI's clients are understood."""

    codec: Keys | None = None
    """Which numbers the robots send as observation.state, and which they play: those of LeRobot's codec of this name.
    null: names pass through as they are."""
    steps: int | None = None
    """How many steps of an answer are played before the model is asked again (n_action_steps of LeRobot's policies).
    null: all of them."""
    stale_after: float = 1.0
    """Seconds after which a step that was not asked for in its time is not played any more, and the model is asked
    again."""

    def __post_init__(self) -> None:
        steps, late = self.steps, cast("Any", self.stale_after)
        if steps is not None and not (type(steps) is int and 1 <= steps <= _MOST_STEPS):
            raise ValueError(f"steps is {steps!r:.40}, expected a whole number from 1 to {_MOST_STEPS}")
        if type(late) not in (int, float) or not 0 <= late < math.inf:
            raise ValueError(f"stale_after is {late!r:.40}, expected seconds, 0 or more")
