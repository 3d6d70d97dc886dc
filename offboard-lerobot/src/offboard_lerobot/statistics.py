"""The statistics that a checkpoint normalises with, read from its processors' files without torch."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import Incomplete, Place, Unfit, read_json
from offboard_core.checkpoints.remote import open_place
from offboard_core.types import Array, Checkpoint

from .features import POSTPROCESSOR, PREPROCESSOR, sent_name

#: Bytes of a file of statistics: a few vectors for each feature.
_LONGEST = 4 * 2**20
#: Of the safetensors format: floating point → how its numbers are read.
_FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


def read_statistics(checkpoint: Checkpoint) -> dict[str, Array]:
    """``FEATURE.STATISTIC`` (``observation.state.min``) → its float32 vector; {} where the processors have none.

    A feature has the name that robots send it under, as in :attr:`Checkpoint.inputs`.
    Reads the disk or the store that the checkpoint lies in. Raises LoadFailed for files that cannot be read.
    """
    if not checkpoint.location:
        return {}
    try:
        return _read(open_place(checkpoint.location))
    except (Incomplete, OSError) as error:
        raise LoadFailed(f"the statistics of the checkpoint {checkpoint.id} cannot be read: {error}") from error


def _read(place: Place) -> dict[str, Array]:
    found: dict[str, Array] = {}
    before: list[dict[str, Any]] = []
    for name in (PREPROCESSOR, POSTPROCESSOR):
        if place.size(name) is None:
            continue
        listed: Any = read_json(place, name).get("steps")
        all_steps = cast("list[Any]", listed) if isinstance(listed, list) else []
        steps = [cast("dict[str, Any]", step) for step in all_steps if isinstance(step, dict)]
        for step in steps:
            state: Any = step.get("state_file")
            # As its registry checks it: a name, and no path.
            if isinstance(state, str) and Path(state).name == state:
                found |= _as_sent(_vectors(place, state), before)
            before.append(step)
    return found


def _as_sent(vectors: dict[str, Array], before: list[dict[str, Any]]) -> dict[str, Array]:
    """Under the names that the data set had, before these steps. What they rename away is normalised by nothing."""
    found: dict[str, Array] = {}
    for key, values in vectors.items():
        feature, _, statistic = key.rpartition(".")
        with contextlib.suppress(Unfit):
            found[f"{sent_name(feature, before)}.{statistic}"] = values
    return found


def _vectors(place: Place, name: str) -> dict[str, Array]:
    found = tensors(place, name)
    return {key: tensor.values for key, tensor in found.items() if tensor.dtype == "F32" and len(tensor.shape) == 1}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a safetensors file. ``dtype``: by the format's name (F32); ``values``: flat, none if not floats."""

    dtype: str
    shape: tuple[int, ...]
    values: Array

    @property
    def is_float(self) -> bool:
        """Whether its numbers are floating point."""
        return self.dtype in _FLOATS


def tensors(place: Place, name: str) -> dict[str, Tensor]:
    """All tensors of a small safetensors file, by name. Raises Incomplete."""
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
            key: _tensor(entry["dtype"], tuple(entry["shape"]), content[8 + length :][slice(*entry["data_offsets"])])
            for key, entry in header.items()
            if key != "__metadata__"
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Incomplete(f"{name} holds no safetensors") from None


def _tensor(dtype: str, shape: tuple[int, ...], content: bytes) -> Tensor:
    if dtype not in _FLOATS:
        return Tensor(dtype, shape, np.empty(0))
    values = np.frombuffer(content, _FLOATS[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    if len(values) != math.prod(shape):
        raise ValueError
    return Tensor(dtype, shape, values)
