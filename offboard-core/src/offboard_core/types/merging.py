"""What two codecs say and make, as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from offboard_client.errors import BadObservation, ConfigurationError, InvalidAction

from .chunk import Array, Chunk
from .values import CodecMeta, Field, is_image

T = TypeVar("T")
#: How far two codecs' reckonings of one number may be apart: float32's rounding.
_ROUNDING = 1e-5
Sizes = tuple[int, int] | Mapping[str, tuple[int, int]] | None


def common(a: CodecMeta, b: CodecMeta) -> CodecMeta:
    """What holds for a chunk as a whole, from whichever part says it."""
    conventions = dict(a.conventions)
    for name, convention in b.conventions.items():
        conventions[name] = _agree(f"the convention {name}", conventions.get(name, convention), convention)
    return CodecMeta(
        action_fps=_agree("the action rate (fps)", a.action_fps, b.action_fps),
        action_horizon_sec=_agree("the action horizon (s)", a.action_horizon_sec, b.action_horizon_sec),
        conventions=conventions,
    )


def _agree(what: str, a: T | None, b: T | None) -> Any:
    if a is not None and b is not None and a != b:
        raise ConfigurationError(f"two codecs disagree about {what}: {a!r} and {b!r}; leave it to one of them")
    return b if a is None else a


def both(name: str, a: Field, b: Field) -> Field:
    """One name that two parts ask for."""
    return Field(
        shape=_agree(f"the shape of {name}", a.shape, b.shape),
        dtype=_agree(f"the dtype of {name}", a.dtype, b.dtype),
        unit=_agree(f"the unit of {name}", a.unit, b.unit),
        kind=_agree(f"the kind of {name}", a.kind, b.kind),
        required=a.required or b.required,
    )


def merge_sizes(left: CodecMeta, right: CodecMeta, observation: Mapping[str, Field]) -> Sizes:
    """The image sizes of two parts side by side, whose observations are merged already."""
    sizes = _sizes_by_name(left)
    for name, size in _sizes_by_name(right).items():
        sizes[name] = _agree(f"the size of {name}", sizes.get(name), size)
    images = {name for name, field in observation.items() if is_image(field)}
    if sizes.keys() == images and len(set(sizes.values())) == 1:
        return next(iter(sizes.values()))
    return sizes or None


def _sizes_by_name(meta: CodecMeta) -> dict[str, tuple[int, int]]:
    sizes = meta.image_sizes
    if isinstance(sizes, tuple):
        return {name: sizes for name, field in meta.observation.items() if is_image(field)}
    return dict(sizes or {})


def union(what: str, a: Mapping[str, T], b: Mapping[str, T]) -> dict[str, T]:
    """Two maps of what no name may stand in twice; ``what`` says it in the error."""
    if twice := a.keys() & b.keys():
        raise ConfigurationError(f"two codecs both make the {what} {', '.join(sorted(twice))}; rename one of them")
    return {**a, **b}


def side_by_side(a: Chunk, b: Chunk) -> Chunk:
    """The actions of two parts as one chunk."""
    columns: dict[str, Array] = dict(a.columns())
    if twice := columns.keys() & b.columns().keys():
        raise InvalidAction(f"two codecs side by side both make the action {', '.join(sorted(twice))}")
    if len(a) != len(b):
        raise InvalidAction(f"two codecs side by side make chunks of {len(a)} and {len(b)} steps")
    times = b.timestamp if a.timestamp is None else a.timestamp
    if a.timestamp is not None and b.timestamp is not None and not (a.timestamp == b.timestamp).all():
        raise InvalidAction("two codecs side by side disagree about the timestamps of a chunk")
    return Chunk(columns | b.columns(), times)


def completed(a: Chunk, b: Chunk) -> Chunk:
    """A model's actions of two parts, each of which has NaN where it knows nothing."""
    columns: dict[str, Array] = dict(a.columns())
    for name, other in b.columns().items():
        columns[name] = _completed(name, columns[name], other) if name in columns else other
    return Chunk(columns, None if a.timestamp is None else b.timestamp)


def _completed(name: str, a: Array, b: Array) -> Array:
    if a.shape == b.shape:
        both = ~(np.isnan(a) | np.isnan(b))
        if np.allclose(a[both], b[both], _ROUNDING, _ROUNDING):
            return np.where(np.isnan(a), b, a)
    raise BadObservation(f"two codecs side by side make another {name} of these actions")
