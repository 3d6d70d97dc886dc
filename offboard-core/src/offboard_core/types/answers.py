"""What one call of a policy answers to several robots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from offboard_client.errors import OffboardError, PolicyFailed

from .chunk import Array, Chunk

R = TypeVar("R")


def apart(results: Sequence[R]) -> list[R | OffboardError]:
    """The results; an error for each whose action lies where another robot's does, for both say what came last."""
    if len(results) < 2:
        return list(results)
    arrays = [_writeable(result) for result in results]
    shared = {
        i
        for pair in combinations(range(len(results)), 2)
        if any(np.shares_memory(one, other) for one in arrays[pair[0]] for other in arrays[pair[1]])
        for i in pair
    }
    if not shared:
        return list(results)
    error = PolicyFailed(
        "the policy answered several robots from the same memory, so whose action lies there cannot be told: answer "
        "each with an array of its own (array.copy()); one that is meant for all of them is read-only "
        "(array.flags.writeable = False)"
    )
    return [error if i in shared else result for i, result in enumerate(results)]


def _writeable(result: object) -> list[Array]:
    """The action's arrays that can be written into. JAX's, which are no numpy arrays, never can."""
    arrays: list[Any] = list(result.columns().values()) if isinstance(result, Chunk) else []
    return [array for array in arrays if isinstance(array, np.ndarray) and array.flags.writeable]
