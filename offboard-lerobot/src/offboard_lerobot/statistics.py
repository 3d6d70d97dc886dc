"""The statistics that a checkpoint normalises with, read from its processors' files without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import LoadFailed
from offboard_core.types import Array, Checkpoint

from .features import POSTPROCESSOR, PREPROCESSOR, Incomplete
from .places import Place, place_of
from .reading import read_json

#: Bytes of a file of statistics: a few vectors for each feature.
_LONGEST = 4 * 2**20


def read_statistics(checkpoint: Checkpoint) -> dict[str, Array]:
    """``FEATURE.STATISTIC`` (``observation.state.min``) → its float32 vector; {} where the processors have none.

    Reads the disk or the store that the checkpoint lies in. Raises LoadFailed for files that cannot be read.
    """
    if not checkpoint.location:
        return {}
    try:
        return _read(place_of(checkpoint.location))
    except (Incomplete, OSError) as error:
        raise LoadFailed(f"the statistics of the checkpoint {checkpoint.id} cannot be read: {error}") from error


def _read(place: Place) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name in (PREPROCESSOR, POSTPROCESSOR):
        if place.size(name) is None:
            continue
        listed: Any = read_json(place, name).get("steps")
        for step in cast("list[Any]", listed) if isinstance(listed, list) else ():
            state: Any = cast("dict[str, Any]", step).get("state_file") if isinstance(step, dict) else None
            # As its registry checks it: a name, and no path.
            if isinstance(state, str) and Path(state).name == state:
                found |= _vectors(place, state)
    return found


def _vectors(place: Place, name: str) -> dict[str, Array]:
    size = place.size(name)
    if size is None or size > _LONGEST:
        raise Incomplete(
            f"{name} is missing" if size is None else f"{name} has {size:,} bytes, too many for statistics"
        )
    content = place.read(name, 0, size)
    try:
        length = int.from_bytes(content[:8], "little")
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
        return {
            key: np.frombuffer(content[8 + length :], "<f4")[slice(*(at // 4 for at in entry["data_offsets"]))]
            for key, entry in header.items()
            if key != "__metadata__" and entry["dtype"] == "F32" and len(entry["shape"]) == 1
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Incomplete(f"{name} holds no safetensors") from None
