"""What a plain function reads and answers, said beside it, for the handshake and its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
from offboard_client.errors import ConfigurationError
from offboard_client.wire import ACTIONS

from ..codecs import action_field, action_shape, canonical_field, canonical_shape
from ..types import Array, Field

F = TypeVar("F")
_MARK = "__offboard_declared__"
#: The fewest and the most steps of an answer.
Steps = tuple[int, int]
#: Observation and action, by name, and how many steps an answer has, where that was said.
Declared = tuple[Mapping[str, Field], Mapping[str, Field], Steps | None]


def declare(
    *,
    observation: Mapping[str, Any] | None = None,
    action: Mapping[str, Any] | None = None,
    steps: int | Steps | None = None,
) -> Callable[[F], F]:
    """A decorator that tells the handshake what a policy reads and answers; observations and actions are checked by it.

    Each name with the shape of its value, a tuple with -1 for a free axis; ``str`` for text; an example of it (an
    array, a number, a text); or a :class:`Field`. Of an action it is the shape of one step. ``steps``: how many each
    answer has, or the fewest and the most; one with others is an error, an empty one stops as ever. For a function of
    the observation, a class, or what builds one.
    Raises ConfigurationError for anything else, and for a name of the protocol with another shape than it has there.
    """
    fields: Declared = (
        {name: _meant(name, field, canonical_shape(name)) for name, field in _fields("observation", observation)},
        {name: _acted(name, field) for name, field in _fields("action", action)},
        _steps(steps),
    )

    def mark(policy: F) -> F:
        setattr(policy, _MARK, fields)
        return policy

    return mark


def declared(policy: Any) -> Declared | None:
    """What :func:`declare` said of it."""
    return getattr(policy, _MARK, None)


def _steps(given: Any) -> Steps | None:
    if given is None:
        return None
    both: tuple[Any, ...] = cast("tuple[Any, ...]", given) if isinstance(given, tuple) else (given, given)
    if len(both) != 2 or any(type(each) is not int for each in both) or not 1 <= both[0] <= both[1]:
        raise ConfigurationError(
            f"steps is {given!r:.60}; expected how many steps an answer has, a whole number from 1 on, or the fewest "
            "and the most as a tuple"
        )
    return cast("Steps", both)


def _fields(what: str, given: Any) -> list[tuple[str, Field]]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{what} is {given!r:.60}; expected a map from names to shapes, examples or str")
    return [(name, _field(name, value)) for name, value in cast("Mapping[str, Any]", given).items()]


def _meant(name: str, field: Field, known: tuple[int, ...] | None) -> Field:
    """``field`` with what the protocol says of the name; a scalar is one number."""
    if name == "task" and field.dtype != "str":
        raise ConfigurationError("task is the instruction as text: declare it as str")
    if known is None or field.shape is None:
        return field
    shape = field.shape or known if known == (1,) and field.dtype != "str" else field.shape
    if len(shape) != len(known) or any(-1 not in (a, b) and a != b for a, b in zip(shape, known, strict=True)):
        raise ConfigurationError(
            f"{name} is declared with the shape {shape}; in the protocol it has {str(known).replace('-1', 'n')}"
        )
    return replace(field, shape=shape)


def _field(name: str, value: Any) -> Field:
    if isinstance(value, Field):
        return value
    if value is str or isinstance(value, str):
        return Field(shape=(), dtype="str")
    if isinstance(value, tuple):
        shape = cast("tuple[Any, ...]", value)
        if all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= -1 for axis in shape):
            if name.startswith("image."):
                return Field(shape=shape, dtype="uint8", unit="RGB")
            return Field(shape=shape, unit=canonical_field(name, -1).unit)
    elif isinstance(value, (np.ndarray, np.generic, int, float)) and not isinstance(value, bool):
        array: Array = np.atleast_1d(np.asarray(value))
        if array.dtype.kind in "fiu":
            return Field(shape=array.shape, dtype=array.dtype.name, unit=canonical_field(name, -1).unit)
    raise ConfigurationError(
        f"{name} is declared as {value!r:.60}; expected a shape (a tuple of whole numbers, -1 for any), str, an "
        "example (an array, a number, a text) or a Field"
    )


def _acted(name: str, field: Field) -> Field:
    if name.partition(".")[0] not in ACTIONS:
        return replace(field, kind=field.kind or "vector")
    known = action_field(name, 1)
    field = _meant(name, field, action_shape(name))
    return replace(field, unit=field.unit or known.unit, kind=field.kind or known.kind)
