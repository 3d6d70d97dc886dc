"""Anything that answers observations, as a :class:`Policy`.

``InferenceServer({"name": build})`` calls ``build()`` when the model is loaded. What it returns may be a
:class:`Policy`; an object with ``infer(observation)`` or ``select_action(observation)``; or a plain function of
the observation. :func:`as_chunk` says what these may answer.

Only a :class:`Policy` keeps robots apart. The others are one object that all sessions share. If it has a
``reset()``, it remembers an episode: ``reset()`` is called when a session starts one, and from then on the object
answers that session alone. An object without ``reset()`` is taken to have no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from offboard_client.errors import InvalidAction, LoadFailed, OffboardError, PolicyFailed

from .types import Array, Checkpoint, CheckpointLoader, Chunk, Policy, Report, Session

#: Builds what answers observations; called once per load, on the thread that will call the policy.
Build = Callable[[], Any]


class CallableLoader(CheckpointLoader):
    """Loads the models of a dict: the checkpoint's id is the key, the value is called without arguments."""

    def __init__(self, builds: Mapping[str, Build]) -> None:
        self._builds = dict(builds)

    def load(self, checkpoint: Checkpoint, report: Report) -> Policy[Any]:
        """Raises LoadFailed if the callable raises or returns nothing that answers observations."""
        report(f"calling {checkpoint.id!r} of the server's models")
        try:
            made = self._builds[checkpoint.id]()
        except OffboardError:
            raise
        except Exception as error:
            raise LoadFailed(
                f"the callable of the model {checkpoint.id!r} raised {type(error).__name__}: {error}; "
                "it is called without arguments and returns what answers observations"
            ) from error
        return as_policy(made, checkpoint.id)


def as_policy(made: Any, name: str) -> Policy[Any]:
    """What a callable of the model ``name`` returned, as a policy. Raises LoadFailed if nothing there can be called."""
    if isinstance(made, Policy):
        return cast("Policy[Any]", made)
    for method in ("infer", "select_action"):
        if callable(found := getattr(made, method, None)):
            return _ObjectPolicy(made, cast("Callable[[Any], Any]", found))
    if callable(made) and not isinstance(made, type):
        return _ObjectPolicy(made, made)
    raise LoadFailed(
        f"the callable of the model {name!r} returned {_kind(made)}; expected a Policy, an object with infer or "
        "select_action, or a function of the observation"
    )


class _ObjectPolicy(Policy["_ObjectSession"]):
    def __init__(self, owner: Any, call: Callable[[Any], Any]) -> None:
        self.call = call
        #: Starts an episode of an object that remembers one; None for an object without a memory that we know of.
        self.reset: Callable[[], Any] | None = getattr(owner, "reset", None)
        self.episode_of: _ObjectSession | None = None
        self._close: Callable[[], Any] | None = getattr(owner, "close", None)

    def new_session(self, params: Any) -> _ObjectSession:
        return _ObjectSession(self)

    def close(self) -> None:
        if self._close is not None:
            self._close()


class _ObjectSession(Session):
    def __init__(self, policy: _ObjectPolicy) -> None:
        self._policy = policy
        self.reset()

    def infer(self, inputs: Mapping[str, Any]) -> Chunk | None:
        if self._policy.reset is not None and self._policy.episode_of is not self:
            raise PolicyFailed(
                "another session has started its episode on this policy, which can remember one only; "
                "reset to take it back, or return a Policy from the server's callable to serve several robots"
            )
        return as_chunk(self._policy.call(dict(inputs)))

    def reset(self) -> None:
        self._policy.episode_of = self
        if self._policy.reset is not None:
            self._policy.reset()


def as_chunk(answer: Any) -> Chunk | None:
    """What a function or object answered, as a chunk.

    None: nothing new. A :class:`Chunk`: itself. An array or nested list of numbers: (T, D), or (D,) for one step. A
    map: one row. A list of rows: each ``{"action": …, "timestamp": s}`` or a flat map from action name to vector,
    all with the same names. An empty list or array: stop.
    Raises InvalidAction that says what was answered and what is wrong with it.
    """
    if answer is None or isinstance(answer, Chunk):
        return answer
    if isinstance(answer, Mapping):
        return _from_rows([cast("Mapping[str, Any]", answer)])
    if isinstance(answer, (list, tuple)):
        items = cast("list[Any]", answer)
        if not items:
            return Chunk({})
        if any(isinstance(item, Mapping) for item in items):
            return _from_rows(items)
    array = _numbers(answer, "the policy")
    if array.ndim not in (1, 2):
        raise InvalidAction(f"the policy answered shape {array.shape}; expected (T, D) or (D,)")
    return Chunk(array if array.ndim == 2 or not array.size else array[None])


def _from_rows(rows: list[Any]) -> Chunk:
    actions: list[Any] = []
    times: list[float] = []
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidAction(f"row {i} is {_kind(row)}, row 0 is a map; expected one form for all rows")
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
            held = sorted(cast("Mapping[str, Any]", action)) if isinstance(action, Mapping) else _kind(action)
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
    if callable(detach := getattr(value, "detach", None)):  # a torch tensor, wherever it lives
        value = cast("Any", detach()).cpu()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidAction(f"{what} answered {_kind(value)} that is no array: {error}") from None
    if array.dtype.kind not in "iuf":
        raise InvalidAction(f"{what} answered {_kind(value)} of dtype {array.dtype}; expected numbers")
    return array


def _time(value: Any, row: int) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(cast("float", value))
    raise InvalidAction(f"the timestamp of row {row} is {_kind(value)}; expected seconds")


def _kind(value: Any) -> str:
    return "an array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
