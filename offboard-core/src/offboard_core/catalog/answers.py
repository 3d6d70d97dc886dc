"""What a plain function or object may answer, as a :class:`Chunk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from offboard_client.errors import InvalidAction

from ..types import Array, Chunk

#: What openpi's policies answer beside ``actions``: their input's state and how long they took. No action.
_BESIDE_ACTIONS = {"actions", "state", "policy_timing", "server_timing"}


def as_chunk(answer: Any) -> Chunk | None:
    """What a function or object answered, as a chunk.

    None: nothing new. A :class:`Chunk`: itself. An array or nested list of numbers: (T, D), or (D,) for one step. A
    map: one row. A list of rows: each ``{"action": …, "timestamp": s}`` or a flat map from action name to vector,
    all with the same names. openpi's ``{"actions": …, "policy_timing": …}``: its actions. An empty list or array: stop.
    Arrays may be numpy's, PyTorch's or JAX's, on any device; bfloat16, which numpy lacks, becomes float32.
    Raises InvalidAction that says what was answered and what is wrong with it.
    """
    if answer is None or isinstance(answer, Chunk):
        return answer
    if isinstance(answer, Mapping):
        row = cast("Mapping[str, Any]", answer)
        return _from_array(_actions_alone(row)) if "actions" in row else _from_rows([row])
    if isinstance(answer, (list, tuple)):
        items = cast("list[Any]", answer)
        if not items:
            return Chunk({})
        if any(isinstance(item, Mapping) for item in items):
            return _from_rows(items)
    return _from_array(answer)


def _from_array(answer: Any) -> Chunk:
    array = _numbers(answer, "the policy")
    if array.ndim not in (1, 2):
        raise InvalidAction(f"the policy answered shape {array.shape}; expected (T, D) or (D,)")
    return Chunk(array if array.ndim == 2 or not array.size else array[None])


def _actions_alone(answer: Mapping[str, Any]) -> Any:
    if unknown := sorted(answer.keys() - _BESIDE_ACTIONS):
        raise InvalidAction(
            f"the policy answered {', '.join(unknown)} beside 'actions'; what of it the robot should do is not clear: "
            "answer the actions alone, or rows with the names of actions"
        )
    return answer["actions"]


def _from_rows(rows: list[Any]) -> Chunk:
    actions: list[Any] = []
    times: list[float] = []
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidAction(f"row {i} is {kind_of(row)}, row 0 is a map; expected one form for all rows")
        rest = dict(cast("Mapping[str, Any]", row))
        if "timestamp" in rest:
            times.append(_time(rest.pop("timestamp"), i))
        if "action" in rest and len(rest) > 1:
            raise InvalidAction(f"row {i} has {sorted(rest)}; expected either 'action' or the names of actions")
        actions.append(rest.get("action", rest))
    if times and len(times) != len(rows):
        raise InvalidAction(f"{len(times)} of {len(rows)} rows have a timestamp; expected all or none")
    timestamp = np.asarray(times) if times else None
    if not isinstance(actions[0], Mapping):
        return Chunk(_column(actions, "action"), timestamp)
    names = list(cast("Mapping[str, Any]", actions[0]))
    if not names:
        raise InvalidAction("row 0 names no action")
    for i, action in enumerate(actions):
        if not isinstance(action, Mapping) or set(cast("Mapping[str, Any]", action)) != set(names):
            held = sorted(cast("Mapping[str, Any]", action)) if isinstance(action, Mapping) else kind_of(action)
            raise InvalidAction(f"row {i} acts on {held}, row 0 on {sorted(names)}; expected the same in every row")
    return Chunk({name: _column([action[name] for action in actions], name) for name in names}, timestamp)


def _column(values: list[Any], name: str) -> Array:
    """(T, D) of T vectors; a number counts as a vector of one."""
    rows = [np.atleast_1d(_numbers(value, f"{name!r} of row {i}")) for i, value in enumerate(values)]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        raise InvalidAction(f"{name!r} has the shapes {sorted(shapes)} in one chunk; expected one")
    if rows[0].ndim > 1:
        raise InvalidAction(
            f"{name!r} of a row has shape {rows[0].shape}, expected a vector; "
            "answer whole columns as Chunk({name: array (T, D)})"
        )
    return np.stack(rows)


def _numbers(value: Any, what: str) -> Array:
    try:
        array: Array = np.asarray(_at_home(value))
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidAction(f"{what} answered {kind_of(value)} that is no array: {error}") from None
    if _numpy_lacks(array.dtype.name):  # JAX brings such types with it; the wire has no form for them
        array = array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise InvalidAction(f"{what} answered {kind_of(value)} of dtype {array.dtype}; expected numbers")
    return array


def _at_home(value: Any) -> Any:
    """PyTorch's tensors, wherever they live and also in lists, as what numpy reads. Anything else as it is."""
    if isinstance(value, (list, tuple)):
        return [_at_home(item) for item in cast("list[Any]", value)]
    if not callable(detach := getattr(value, "detach", None)):
        return value
    tensor = cast("Any", detach()).cpu()
    return tensor.float() if _numpy_lacks(str(tensor.dtype).removeprefix("torch.")) else tensor


def _numpy_lacks(dtype: str) -> bool:
    return dtype.startswith(("bfloat16", "float8"))


def _time(value: Any, row: int) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(cast("float", value))
    raise InvalidAction(f"the timestamp of row {row} is {kind_of(value)}; expected seconds")


def kind_of(value: Any) -> str:
    """A value's type as an error says it (``a dict``)."""
    return "an array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
