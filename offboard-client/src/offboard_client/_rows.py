"""A chunk as rows: one per step, views on the arrays that came."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from .errors import BadMessage, InvalidAction

#: One step of a chunk: ``{"action": vector or map of vectors, "timestamp": s}``.
Row = dict[str, Any]


class Rows(Sequence[Row]):
    """The rows of a chunk that came as columns. A row is made when it is looked at: most chunks are not played whole.

    ``action``: (T, D), or a map of (T, …). ``times``: T seconds, or None.
    """

    __slots__ = ("_action", "_length", "_times")

    def __init__(self, action: NDArray[Any] | dict[str, NDArray[Any]], times: list[float] | None, length: int) -> None:
        self._action, self._times, self._length = action, times, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(f"row {index} of a chunk of {self._length}")
        return self._row(index % self._length)

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(self._length))

    def __repr__(self) -> str:
        return f"Rows({list(self)!r})"

    def _row(self, i: int) -> Row:
        action = self._action
        step: Any = (
            action[i] if isinstance(action, np.ndarray) else {name: column[i] for name, column in action.items()}
        )
        return {"action": step} if self._times is None else {"action": step, "timestamp": self._times[i]}


def rows(result: Any) -> Sequence[Row] | None:
    """The rows of a reply's ``result``: of its columns, or as they came. None and ``[]`` stay what they are.

    Raises BadMessage for another form, and InvalidAction where a number is not finite: a server of this
    project never sends one, and no robot should find out what another server meant by it.
    """
    if result is None:
        return None
    if isinstance(result, dict):
        found = cast("Row", result)
        _check_finite(found)
        return _from_columns(found["columns"]) if "columns" in found else [found]
    made = cast("list[Any]", result)
    if not isinstance(result, list) or not all(isinstance(row, dict) for row in made):
        raise BadMessage(f"the server's result is a {type(made).__name__}, where rows or columns were expected")
    _check_finite(made)
    return made


def _from_columns(columns: Any) -> Rows:
    if not isinstance(columns, dict):
        raise BadMessage("the server's columns are not a map")
    found = cast("dict[str, Any]", columns)
    action, times = found.get("action"), found.get("timestamp")
    named = cast("dict[str, Any]", action) if isinstance(action, dict) else {"action": action}
    lengths = {_length(column) for column in named.values()}
    if times is not None:
        lengths.add(_length(times))
    if len(lengths) != 1 or -1 in lengths:
        raise BadMessage("the server's columns need 'action' and 'timestamp' as arrays with one row per step")
    return Rows(cast("Any", action), None if times is None else cast("NDArray[Any]", times).tolist(), lengths.pop())


def _length(column: Any) -> int:
    return cast("NDArray[Any]", column).shape[0] if isinstance(column, np.ndarray) and column.ndim else -1


def _check_finite(value: Any) -> None:
    if isinstance(value, np.ndarray | np.generic):
        finite = bool(np.isfinite(cast("NDArray[Any]", value)).all())
    elif isinstance(value, dict):
        for part in cast("dict[Any, Any]", value).values():
            _check_finite(part)
        return
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            _check_finite(part)
        return
    else:
        finite = not isinstance(value, float) or math.isfinite(value)
    if not finite:
        raise InvalidAction("the server's chunk holds a number that is not finite: nothing of it may reach a robot")
