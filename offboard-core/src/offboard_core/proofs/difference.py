"""How far the answers of two forms of a model are apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..types import Chunk

#: Of each observation, one for each robot.
Answers = list[list[Chunk]]


def farthest(one: Answers, other: Answers) -> float:
    """The largest difference of two numbers; infinity where the answers have other shapes or are not finite."""
    pairs = ((a, b) for row, others in zip(one, other, strict=True) for a, b in zip(row, others, strict=True))
    return max(_chunks_apart(a, b) for a, b in pairs)


def _chunks_apart(one: Chunk, other: Chunk) -> float:
    first, second = one.columns(), other.columns()
    if first.keys() != second.keys() or (one.timestamp is None) != (other.timestamp is None):
        return math.inf
    if one.timestamp is not None and not np.array_equal(one.timestamp, np.asarray(other.timestamp)):
        return math.inf
    return max((_arrays_apart(first[name], second[name]) for name in first), default=math.inf)


def _arrays_apart(one: Any, other: Any) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        return math.inf
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.inf
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))


def differ(apart: float, tolerance: float) -> str:
    """What is said of those that are so far apart, which is more than ``tolerance``."""
    if not math.isfinite(apart):
        return "its answers are of another shape, or not finite"
    allowed = f"and {tolerance:g} is allowed" if tolerance else "and no difference is allowed"
    return f"its answers differ by up to {apart:.3g}, {allowed} (--compile-tolerance)"


__all__ = ["Answers", "differ", "farthest"]
