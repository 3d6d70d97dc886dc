"""When the rows of a chunk are played."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from offboard_client.errors import InvalidAction


@dataclass(frozen=True)
class Row:
    """An action and when it is played, in seconds from the chunk's arrival."""

    action: Mapping[str, Any]
    begin: float
    end: float


def schedule(rows: Sequence[Mapping[str, Any]], period: float) -> list[Row]:
    """Each row from its timestamp for one ``period`` in seconds, or until the next one is due. Raises InvalidAction."""
    chunk: list[Row] = []
    following = math.inf
    for row in reversed(rows):
        action, due = row.get("action"), row.get("timestamp")
        if not isinstance(action, Mapping):
            raise InvalidAction(
                f"a row's action must map names to vectors; got {type(action).__name__}. "
                "The model's own vectors mean nothing to this robot: serve with a codec that names its actions"
            )
        if not isinstance(due, int | float) or not 0 <= due < following:
            raise InvalidAction(f"the rows' timestamps must be seconds that grow from 0; got {due!r}")
        chunk.append(Row(cast("Mapping[str, Any]", action), float(due), min(float(due) + period, following)))
        following = float(due)
    return chunk[::-1]
