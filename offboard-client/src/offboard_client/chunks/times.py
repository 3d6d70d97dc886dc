"""When the rows of a chunk are due."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InvalidAction, brief

#: The longest that a robot holds still for a row that is not due yet, in seconds: after that, whoever stands beside it
#: has stopped expecting it to move, and the scene is another one.
MAX_PAUSE = 1.0


def due_times(rows: Sequence[Mapping[str, Any]], action_period: float) -> list[float]:
    """The rows' timestamps, in seconds. Raises InvalidAction for some that nobody can play one after the other."""
    due = [_due(row) for row in rows]
    before, over = -1.0, 0.0
    for at in due:
        if not (before < at and 0 <= at <= over + MAX_PAUSE):
            raise InvalidAction(
                "the rows' timestamps must be seconds that grow from 0, without a pause of more than "
                f"{MAX_PAUSE:g} s; got {at:g}" + (f" after {before:g}" if before >= 0 else "")
            )
        before, over = at, at + action_period
    return due


def _due(row: Mapping[str, Any]) -> float:
    action: Any = row.get("action")
    due: Any = row.get("timestamp")
    if not isinstance(action, Mapping):
        raise InvalidAction(f"a row's action must map names to vectors; got {type(action).__name__}")
    if isinstance(due, bool) or not isinstance(due, int | float) or not math.isfinite(due):
        raise InvalidAction(f"a row's timestamp must be seconds; got {brief(due)}")
    return float(due)
