"""A chunk as rows: one per step, views on the arrays that came."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .errors import BadMessage, InvalidAction

#: One step of a chunk: ``{"action": vector or map of vectors, "timestamp": s}``.
Row = dict[str, Any]


def rows(result: Any) -> list[Row] | None:
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


def _from_columns(columns: Any) -> list[Row]:
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
    if isinstance(action, dict):
        steps: list[Any] = [{} for _ in range(lengths.pop())]
        for name, column in named.items():
            for step, value in zip(steps, cast("NDArray[Any]", column), strict=True):
                step[name] = value
    else:
        steps = list(cast("NDArray[Any]", action))
    if times is None:
        return [{"action": step} for step in steps]
    stamps = cast("NDArray[Any]", times).tolist()
    return [{"action": step, "timestamp": stamp} for step, stamp in zip(steps, stamps, strict=True)]


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
