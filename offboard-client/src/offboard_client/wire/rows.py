"""A chunk as rows: one per step, views on the arrays that came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import BadMessage, InvalidAction
from .actions import check_actions, check_times, is_finite
from .limits import DEFAULT_LIMITS, WireLimits
from .messages import LONGEST_MS, durations

#: One step of a chunk: ``{"action": {name: vector}, "timestamp": s}``; without a time where nothing says the rate.
Row = dict[str, Any]
#: What a policy's bare vector is called, as in the handshake's ``action``.
VECTOR = "action"
# For type checkers these hold they do not know what; to say so by a call of cast costs time.
_MAP: Any = dict
_ARRAY: Any = np.ndarray


class Rows(Sequence[Row]):
    """The rows of a chunk that came as columns. A row is made when it is looked at: most chunks are not played whole.

    ``columns``: name → (T, …). ``times``: T seconds, or None.
    """

    __slots__ = ("_columns", "_length", "_times")

    def __init__(self, columns: dict[str, NDArray[Any]], times: list[float] | None, length: int) -> None:
        self._columns, self._times, self._length = columns, times, length

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
        step = {name: column[i] for name, column in self._columns.items()}
        return {"action": step} if self._times is None else {"action": step, "timestamp": self._times[i]}


def rows(result: Any, limits: WireLimits = DEFAULT_LIMITS) -> Sequence[Row] | None:
    """The rows of a reply's ``result``: of its columns, or as they came. None and ``[]`` stay what they are.

    ``action`` of a row is a map in either case; a bare vector is its ``action``. Raises BadMessage for another form or
    more than ``limits`` allow, and InvalidAction where a number is not finite or a name of the protocol holds what it
    cannot mean: a server of this project sends neither, and no robot should find out what another server meant by it.
    """
    if result is None:
        return None
    if isinstance(result, _MAP):
        if "columns" in result:
            return _from_columns(result["columns"], limits)
        result = [result]
    if not isinstance(result, list):
        raise BadMessage(f"the server's result is a {type(result).__name__}, where rows or columns were expected")
    limits.check_chunk(len(cast("list[Any]", result)))
    made = [_row(i, row) for i, row in enumerate(cast("list[Any]", result))]
    times = [row["timestamp"] for row in made if "timestamp" in row]
    if times and len(times) != len(made):
        raise BadMessage(f"{len(times)} of {len(made)} rows of the server have a timestamp; expected all or none")
    check_times(np.asarray(times, np.float64))
    return made


def read_alike(frame: Any) -> tuple[Rows, Mapping[str, float]]:
    """The rows and the timing of a reply of columns, of which one of the same form was right.

    That is what :func:`~.messages.read_reply` and :func:`rows` make of it; of a form (:attr:`~.layouts.Layouts.form`)
    only numbers differ, and only these are looked at. Raises InvalidAction.
    """
    columns, stages = frame["result"]["columns"], frame.get("timing")
    action = columns["action"]
    found = _checked({VECTOR: action} if type(action) is _ARRAY else action, columns.get("timestamp"))
    if not stages:
        return found, {}
    times = stages.values()
    return found, stages if min(times) >= 0 and sum(times) <= LONGEST_MS else durations(stages)


def columns(found: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """The actions of rows, name → (K, …): what has not been played yet, as an observation's prefix says it.

    Raises ValueError for no rows, and for rows of different names or shapes.
    """
    if not found:
        raise ValueError("there are no rows; leave the prefix out")
    names = found[0]["action"].keys()
    if any(row["action"].keys() != names for row in found):
        raise ValueError("the rows are not of one chunk: their actions have different names")
    return {name: np.stack([row["action"][name] for row in found]) for name in names}


def _from_columns(columns: Any, limits: WireLimits) -> Rows:
    if not isinstance(columns, _MAP):
        raise BadMessage("the server's columns are not a map")
    action, times = columns.get("action"), columns.get("timestamp")
    named: dict[str, Any] = {VECTOR: action} if isinstance(action, _ARRAY) else _named(action)
    _check_columns(named, times, limits)
    return _checked(named, times)


def _checked(named: dict[str, Any], times: Any) -> Rows:
    """The rows of columns that belong together. Raises InvalidAction for numbers that mean nothing."""
    length = 0
    for column in named.values():
        if not is_finite(column):
            raise _not_finite()
        length = len(column)
    check_actions(named)
    return Rows(named, None if times is None else _in_order(times.dtype.str, times.tobytes()), length)


def _check_columns(named: dict[str, Any], times: Any, limits: WireLimits) -> None:
    each = list(named.values()) if times is None else [*named.values(), times]
    lengths = {len(one) if isinstance(one, _ARRAY) and one.ndim else -1 for one in each}
    if len(lengths) != 1 or -1 in lengths or (times is not None and times.ndim != 1):
        raise _odd_columns()
    limits.check_chunk(lengths.pop(), len(named))


def _odd_columns() -> BadMessage:
    return BadMessage("the server's columns need 'action' and 'timestamp' as arrays with one row per step")


@lru_cache(maxsize=8)
def _in_order(dtype: str, data: bytes) -> list[float]:
    """The times of a chunk, which mostly are those of the chunk before. Raises InvalidAction."""
    times = np.frombuffer(data, dtype)
    check_times(times)
    return times.tolist()


def _row(i: int, row: Any) -> Row:
    if not isinstance(row, dict):
        raise BadMessage(f"row {i} of the server's result is a {type(row).__name__}, where a map was expected")
    found = cast("Row", row)
    if "action" not in found:
        raise BadMessage(
            f"row {i} of the server's result has no 'action'; it holds {sorted(map(str, found))}: "
            "the server does not speak the dialect 'offboard' of the protocol"
        )
    action = {name: _vector(i, name, value) for name, value in _named(found["action"]).items()}
    check_actions({name: vector[None] for name, vector in action.items()})
    made = {**found, "action": action}
    if "timestamp" in found:
        made["timestamp"] = _seconds(i, found["timestamp"])
    return made


def _seconds(i: int, time: Any) -> float:
    if isinstance(time, bool) or not isinstance(time, (int, float, np.integer, np.floating)):
        raise BadMessage(f"the timestamp of row {i} is a {type(time).__name__}, where seconds were expected")
    _check_finite(np.asarray(time))
    return float(cast("float", time))


def _named(action: Any) -> dict[str, Any]:
    named = cast("dict[Any, Any]", action) if isinstance(action, dict) else {VECTOR: action}
    for name in named:
        if not isinstance(name, str):
            raise BadMessage("the names of the server's actions are not all strings")
    return named


def _vector(i: int, name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.empty(0, object) if _ragged(value) else np.asarray(value)
    except (ValueError, TypeError, OverflowError):  # text beside bytes, under numpy 1.22
        array = np.empty(0, object)
    if array.dtype.kind not in "fiub":
        raise InvalidAction(f"{name} of row {i} is a {type(value).__name__} that holds no numbers, or not only numbers")
    _check_finite(array)
    return array


def _ragged(value: Any) -> bool:
    """Whether it is a list whose parts differ in shape: numpy before 1.24 makes an array of that, and only warns."""
    if not isinstance(value, list):
        return False
    try:
        parts = np.array(value, dtype=object)
    except ValueError:
        return True
    return any(isinstance(part, (list, np.ndarray)) for part in parts.flat)


def _check_finite(array: NDArray[Any]) -> None:
    if not is_finite(array):
        raise _not_finite()


def _not_finite() -> InvalidAction:
    return InvalidAction("the server's chunk holds a number that is not finite: nothing of it may reach a robot")
