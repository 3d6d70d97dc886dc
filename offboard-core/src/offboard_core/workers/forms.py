"""What crosses between a server and its worker, as plain data and arrays, and back."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast

import numpy as np
from offboard_client.errors import LoadFailed, OffboardError, from_code
from offboard_client.plugins import changeable, describe

from ..types import NO_CONTEXT, Array, Checkpoint, Chunk, Field, InferContext, is_array

# -- what a policy declares ------------------------------------------------------------------------------------------


def again(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any] | None:
    """What holds of what a process declares, after what the one ``before`` it did; None where that is something else.

    What came of compiling is measured by each of them, and may be another thing; whoever has the old ``meta`` is told.
    """
    if before is None:
        return now
    if {**now, "meta": {}} != {**before, "meta": {}} or _settled(now) != _settled(before):
        return None
    before["meta"].update(now["meta"])
    return before


def with_news(declared: Mapping[str, Any], news: Sequence[Any]) -> dict[str, Any]:
    """What it declares after an answer that came with ``news``. Raises TypeError or ValueError for what is none."""
    return {**declared, "meta": {**declared["meta"], "compiled": dict(*news)}}


def _settled(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {**declared["meta"], "compiled": "compiled" in declared["meta"]}


# -- answers ---------------------------------------------------------------------------------------------------------


def error_out(error: OffboardError) -> list[Any]:
    """An error."""
    return ["error", error.code, error.text, isinstance(error, LoadFailed) and error.permanent]


def error_in(told: Any) -> OffboardError:
    """The error that was told. Raises ValueError for what is none."""
    _, code, text, permanent = told
    if not isinstance(text, str):
        raise ValueError(f"an error whose text is a {type(text).__name__}")
    error = from_code(code, text)
    return LoadFailed(text, permanent=bool(permanent)) if type(error) is LoadFailed else error


def chunk_out(chunk: Chunk) -> list[Any]:
    """A chunk; also one of arrays that are no numpy arrays, such as JAX's."""
    action = chunk.action
    columns: Any = {name: _array(a) for name, a in action.items()} if isinstance(action, dict) else _array(action)
    return ["chunk", columns, None if chunk.timestamp is None else _array(chunk.timestamp)]


def chunk_in(told: Any) -> Chunk:
    """The chunk that was told. Raises ValueError for what is none."""
    _, action, timestamp = told
    columns = list(cast("dict[Any, Any]", action).values()) if isinstance(action, dict) else [action]
    if not all(isinstance(a, np.ndarray) for a in ([*columns] if timestamp is None else [*columns, timestamp])):
        raise ValueError("a chunk that holds something else than arrays")
    if isinstance(action, dict) and not all(isinstance(name, str) for name in cast("dict[Any, Any]", action)):
        raise ValueError("a chunk with an action whose name is no text")
    return Chunk(cast("Any", action), timestamp)


def _array(value: Any) -> Array:
    return value if is_array(value) else np.asarray(value)


def context_out(context: InferContext) -> list[Any] | None:
    """What an inference is told beside the observation."""
    if context is NO_CONTEXT:
        return None
    prefix = None if context.prefix is None else chunk_out(context.prefix)
    return [prefix, context.delay_steps, context.seed, [dict(moment) for moment in context.history]]


def context_in(told: Any) -> InferContext:
    """… and back."""
    if told is None:
        return NO_CONTEXT
    prefix, delay, seed, history = told
    return InferContext(None if prefix is None else chunk_in(prefix), delay, seed, tuple(history))


# -- what is loaded --------------------------------------------------------------------------------------------------


def checkpoint_out(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint."""
    told = {field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)}
    for side in ("inputs", "outputs"):
        told[side] = {name: dataclasses.astuple(field) for name, field in told[side].items()}
    return told


def checkpoint_in(told: dict[str, Any]) -> Checkpoint:
    """… and back."""
    names = [field.name for field in dataclasses.fields(Field)]
    for side in ("inputs", "outputs"):
        told[side] = {name: Field(**dict(zip(names, values, strict=True))) for name, values in told[side].items()}
    return Checkpoint(**told)


# -- options ---------------------------------------------------------------------------------------------------------


def values_out(options: Any) -> dict[str, Any]:
    """What of an instance of an options class is not as it is by default; paths as texts."""
    told: dict[str, Any] = {}
    for option in describe(cast("type[Any]", type(options))):
        value = getattr(options, option.name)
        # 1 is no True.
        same = type(value) is type(option.default) and value == option.default
        if value is not option.default and not same:
            told[option.name] = str(value) if isinstance(value, Path) else value
    return told


def class_out(cls: type) -> list[Any]:
    """A dataclass of options: its name, and each field with its type, default and whether it is changeable."""
    hints = typing.get_type_hints(cls)
    fields: list[Any] = []
    for option in describe(cls):
        needed, path = option.default is ..., isinstance(option.default, Path)
        default: Any = None if needed else str(option.default) if path else option.default
        fields.append([option.name, _hint_out(hints[option.name]), needed, path, default, option.changeable])
    return [cls.__name__, fields]


def class_in(told: Any) -> type:
    """A dataclass with the same fields. What the original refuses beside that, only its owner can tell."""
    name, fields = told
    made: list[Any] = []
    for field, hint, needed, path, default, changes in fields:
        default = Path(default) if path else default
        if needed:
            made.append((field, _hint_in(hint)))
        elif changes:
            made.append((field, _hint_in(hint), changeable(default)))
        else:
            made.append((field, _hint_in(hint), _default(default)))
    # Positional order does not matter: they are filled by name.
    return dataclasses.make_dataclass(name, made, frozen=True, kw_only=True)


def _default(value: Any) -> Any:
    if isinstance(value, (list, dict, np.ndarray)):
        return dataclasses.field(default_factory=cast("Any", value).copy)
    return value


_PLAIN: dict[Any, str] = {
    bool: "bool", int: "int", float: "float", str: "str", Path: "path", type(None): "none", Any: "any",
    list: "list", tuple: "tuple", dict: "dict",
}  # fmt: skip
_NAMED = {name: hint for hint, name in _PLAIN.items()}


def _hint_out(hint: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return ["union", *map(_hint_out, args)]
    if origin is Literal:
        return ["literal", *args]
    if origin is tuple and len(args) == 2 and args[1] is ...:
        return ["tuple...", _hint_out(args[0])]
    if origin in (list, tuple, dict, Mapping):
        return [_PLAIN[dict if origin is Mapping else origin], *map(_hint_out, args)]
    return _PLAIN.get(hint) or ["other", getattr(hint, "__name__", str(hint))]


def _hint_in(told: Any) -> Any:
    if isinstance(told, str):
        return _NAMED[told]
    kind, *args = told
    if kind == "other":  # nothing but the default can be given
        return type(str(args[0]), (), {})
    if kind == "literal":
        return Literal[tuple(args)]
    hints = tuple(map(_hint_in, args))
    if kind == "union":
        return functools.reduce(lambda a, b: a | b, hints)
    if kind == "tuple...":
        return tuple[hints[0], ...]
    return _NAMED[kind][hints]


__all__ = [
    "again", "checkpoint_in", "checkpoint_out", "chunk_in", "chunk_out", "class_in", "class_out", "context_in",
    "context_out", "error_in", "error_out", "values_out", "with_news",
]  # fmt: skip
