"""An action chunk, and the rows of a reply that it becomes."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
#: One action vector per step, shape (T, D), or one such array per name.
Columns = Array | dict[str, Array]


@dataclass(frozen=True)
class Chunk:
    """An action chunk of T steps: what a policy answers to one observation.

    ``action``: an array (T, D) in the model's own layout, or a map from action name to array (T, …), as
    the protocol names them, in section 8 (``target_pose`` (T, 7), ``target_grip`` (T, 1) …).
    ``timestamp``: (T,) float64 seconds from the moment the answered observation was taken, or None while
    nothing has said at which rate the actions were made.
    A chunk of no steps means *stop*; a policy that has nothing new to say answers None instead of a chunk.
    """

    action: Columns
    timestamp: Array | None = None

    def __post_init__(self) -> None:
        action, times = self.action, self.timestamp
        if not isinstance(action, dict) and action.ndim and (times is None or len(times) == len(action)):
            return
        lengths = {len(a) if a.ndim else -1 for a in self.columns().values()}
        if self.timestamp is not None:
            lengths.add(len(self.timestamp))
        if len(lengths) > 1 or -1 in lengths:
            shapes = {name: array.shape for name, array in self.columns().items()}
            raise ValueError(f"the columns of a chunk need one common length T first; got {shapes}")

    def __len__(self) -> int:
        action = self.action
        return len(next(iter(action.values()), ())) if isinstance(action, dict) else len(action)

    def columns(self) -> dict[str, Array]:
        """The action arrays by name; a bare vector goes by the name ``action``."""
        return self.action if isinstance(self.action, dict) else {"action": self.action}

    def replace(self, **changes: Any) -> Chunk:
        """A copy with ``action`` or ``timestamp`` changed."""
        return replace(self, **changes)

    def copy(self) -> Chunk:
        """One that stays as it is, whatever is written into the arrays of this one."""
        action = self.action
        kept = {name: _own(array) for name, array in action.items()} if isinstance(action, dict) else _own(action)
        return Chunk(kept, None if self.timestamp is None else _own(self.timestamp))

    def only(self, names: Container[str]) -> Chunk:
        """Those of its columns whose names are among ``names``."""
        return Chunk({name: array for name, array in self.columns().items() if name in names}, self.timestamp)

    def head(self, count: int) -> Chunk:
        """The first ``count`` steps."""
        action = self.action
        kept = {name: array[:count] for name, array in action.items()} if isinstance(action, dict) else action[:count]
        return Chunk(kept, None if self.timestamp is None else self.timestamp[:count])


def is_array(value: Any) -> TypeGuard[Array]:
    """Whether ``value`` is a numpy array, of whatever is in it."""
    return isinstance(value, np.ndarray)


def _own(array: Array) -> Array:
    # JAX's arrays have no copy, and cannot be written into.
    return array.copy() if isinstance(array, np.ndarray) else array  # pyright: ignore[reportUnnecessaryIsInstance]


def rows(chunk: Chunk) -> Iterator[dict[str, Any]]:
    """A chunk as the rows of a reply: ``{"action": …, "timestamp": s}``; views, no copies."""
    action, times = chunk.action, chunk.timestamp
    for i in range(len(chunk)):
        row: dict[str, Any] = {
            "action": {name: a[i] for name, a in action.items()} if isinstance(action, dict) else action[i]
        }
        if times is not None:
            row["timestamp"] = float(times[i])
        yield row
