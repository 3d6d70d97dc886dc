"""How many steps an answer has, for protocols that promise it to their clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def chunk_lengths(meta: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The fewest and the most steps of an answer, cut where the codec cuts; None where nothing says it.

    ``meta``: of a handshake.
    """
    longest = meta.get("chunk_length")
    shortest = meta.get("shortest_chunk") or longest
    seconds, fps = meta.get("action_horizon_sec"), meta.get("action_fps")
    if seconds is None or fps is None:
        return shortest, longest

    def cut(steps: int | None) -> int | None:
        return None if steps is None else int(np.count_nonzero(np.arange(steps) / fps < seconds))

    return cut(shortest), cut(longest)
