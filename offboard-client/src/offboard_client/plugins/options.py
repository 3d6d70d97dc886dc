"""Options: a dataclass filled from names and plain values, each checked against its annotation.

Vendors, codecs and policies declare what may be set as frozen dataclasses; command lines, ``models.toml`` and
session URLs set it. A value never names code, and one from a session never names a path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast

from ..errors import BadParameter, ConfigurationError, OffboardError, told, unknown

T = TypeVar("T")


#: Marks a field, in its metadata, as one that may be changed while it is in use.
_CHANGEABLE = "offboard.changeable"


@dataclass(frozen=True)
class Option:
    """One field of an options class: ``type`` as a person reads it, ``default`` as plain data."""

    name: str
    type: str
    default: Any
    changeable: bool = False


def changeable(default: T) -> T:
    """The default of a field that a session may change while it is open (``speed: float = changeable(0.4)``)."""
    return dataclasses.field(default=default, metadata={_CHANGEABLE: True})


def build(
    cls: type[T],
    overrides: Mapping[str, Any],
    where: str,
    error: type[OffboardError] = BadParameter,
    folder: Path | None = None,
) -> T:
    """An instance of the dataclass ``cls`` with some fields set.

    ``overrides``: field name → plain JSON or TOML data. An int serves as a float and a list as a tuple; nothing
    else is converted: True is no number, ``"10"`` is no 10, unless :func:`parse_flag` read it. ``where`` names the
    owner in errors (``"the codec lerobot.ee"``). Fields that are paths can be set on this machine only, that is if
    ``error`` is not :class:`BadParameter`. They, those in lists and maps, and a program with a slash in it (a text
    whose field has ``program`` in its metadata), are relative to ``folder``; without one they stay as they are.
    Raises ``error``: an unknown name with what exists, or a value with what was expected; also for whatever the class
    raises itself but an OffboardError. SystemExit included: it is a plugin's code, and an event loop may call this.
    """
    fields = {f.name: f for f in dataclasses.fields(cast("Any", cls)) if f.init}
    try:
        hints = typing.get_type_hints(cls)
    except Exception as broken:
        raise error(f"the types of the options of {where} are not there: {told(broken)}") from broken
    values: dict[str, Any] = {}
    for name, value in overrides.items():
        if name not in fields:
            raise error(unknown("option", name, fields, where=f"of {where}"))
        if error is BadParameter and _mentions(hints[name], Path):
            raise error(
                f"the option {name!r} of {where} names a path: it is set where the server starts, not by a session"
            )
        try:
            values[name] = _fit(value, hints[name])
        except _Misfit:
            raise error(f"the option {name!r} of {where} expects {_spell(hints[name])}, not {_show(value)}") from None
        if folder is not None:
            values[name] = _below(folder.absolute(), values[name], "program" in fields[name].metadata)
    missing = [n for n, f in fields.items() if n not in values and _is_required(f)]
    if missing:
        raise error(f"{where} needs the option{'s' * (len(missing) > 1)} {', '.join(missing)}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as refused:
        raise error(f"{where} refuses its options: {refused}") from refused
    except OffboardError:
        raise
    except (Exception, SystemExit) as failed:
        raise error(f"{where} cannot be given its options: {told(failed)}") from failed


def _below(folder: Path, value: Any, program: bool) -> Any:
    if isinstance(value, Path):
        return folder / value
    if program and isinstance(value, str) and "/" in value:
        return str(folder / Path(value).expanduser())
    if isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        return cast("type[Any]", type(items))(_below(folder, item, program) for item in items)
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", value)
        return {key: _below(folder, entry, program) for key, entry in entries.items()}
    return value


def check_options(options: Any, where: str) -> None:
    """Raises ConfigurationError where a field of the dataclass ``options`` is not of its annotated type.

    A command line makes them of the right types; a program may make them of any. ``where`` is their owner, as in
    :func:`build`. Of annotations that options on a command line cannot have nothing is known, and nothing refused.
    """
    hints = typing.get_type_hints(cast("type[Any]", type(options)))
    for each in dataclasses.fields(options):
        name, value = each.name, getattr(options, each.name)
        if not _suits(value, hints[name]):
            raise ConfigurationError(f"the option {name!r} of {where} expects {_spell(hints[name])}, not {value!r:.60}")


def parse_value(text: str) -> Any:
    """The text of a flag or of a query parameter as data: a JSON literal, else the text itself.

    ``NaN`` and ``Infinity`` are not JSON and stay text.
    """

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text


class _Int(int):
    """A whole number, and the ``text`` that it was written as."""

    text: str


class _Float(float):
    """A number, and the ``text`` that it was written as."""

    text: str


def parse_flag(text: str) -> Any:
    """As :func:`parse_value`; an option that takes no number but a text gets a number as it was written.

    For :func:`build`. A model may be called 2000, or 1.10.
    """
    value = parse_value(text)
    if type(value) not in (int, float):
        return value
    number = _Int(value) if type(value) is int else _Float(value)
    number.text = text
    return number


def describe(cls: type) -> list[Option]:
    """The options that a dataclass declares, in its order. A field without a default has the default ``...``."""
    hints = typing.get_type_hints(cls)
    options: list[Option] = []
    for field in dataclasses.fields(cls):
        if field.init:
            default = _default(field)
            default = ... if default is dataclasses.MISSING else default
            options.append(Option(field.name, _spell(hints[field.name]), default, _CHANGEABLE in field.metadata))
    return options


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default


class _Misfit(Exception):
    """The value is not of the annotated type."""


def _mentions(hint: Any, kind: type) -> bool:
    return hint is kind or any(_mentions(arg, kind) for arg in typing.get_args(hint))


def _fit(value: Any, hint: Any) -> Any:
    if isinstance(value, (_Int, _Float)):
        with contextlib.suppress(_Misfit):
            return _fit(int(value) if isinstance(value, _Int) else float(value), hint)
        return _fit(value.text, hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        for choice in args:
            try:
                return _fit(value, choice)
            except _Misfit:
                continue
    elif hint is Any:
        return value
    elif hint is None or hint is type(None):
        if value is None:
            return None
    elif origin is Literal:
        for choice in args:
            if type(choice) is type(value) and choice == value:
                return choice
    elif hint is float:
        with contextlib.suppress(OverflowError):  # an int that no float can hold
            if type(value) in (int, float) and math.isfinite(value):
                return float(value)
    elif hint in (bool, int, str):
        if type(value) is hint:
            return value
    elif hint is Path:
        if isinstance(value, (str, Path)):
            return Path(value).expanduser()
    elif origin in (tuple, list) and isinstance(value, (list, tuple)):
        return _fit_items(cast("list[Any]", value), hint)
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        return {_fit(key, args[0]): _fit(entry, args[1]) for key, entry in entries.items()}
    raise _Misfit


def _suits(value: Any, hint: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_suits(value, choice) for choice in args)
    if origin is Literal:
        return any(type(choice) is type(value) and choice == value for choice in args)
    if hint in (float, int):
        return not isinstance(value, bool) and isinstance(value, Real if hint is float else Integral)
    if hint in (bool, str, Path, type(None)):
        return isinstance(value, hint)
    if origin in (tuple, list):
        if not isinstance(value, (tuple, list)):
            return False
        items = cast("list[Any]", value)
        each = args[:1] * len(items) if origin is list or args[1:] == (...,) else args
        return len(each) == len(items) and all(map(_suits, items, each))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return all(_suits(key, args[0]) and _suits(each, args[1]) for key, each in cast("Any", value).items())
    return origin not in (dict, Mapping)


def _fit_items(values: list[Any], hint: Any) -> Any:
    make, args = typing.get_origin(hint), typing.get_args(hint)
    if make is list or (len(args) == 2 and args[1] is ...):
        args = (args[0],) * len(values)
    if len(args) != len(values):
        raise _Misfit
    return cast("type[Any]", make)(_fit(value, arg) for value, arg in zip(values, args, strict=True))


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
    Any: "anything",
}


def _spell(hint: Any) -> str:
    """An annotation in words that need no Python."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_spell(choice) for choice in args)
    if origin is Literal:
        return "one of " + ", ".join(json.dumps(choice) for choice in args)
    if origin is list or (origin is tuple and args[-1] is ...):
        return f"a list, each {_spell(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}: {', '.join(map(_spell, args))}"
    if origin in (dict, Mapping):
        return f"a map from {_spell(args[0])} to {_spell(args[1])}"
    return _WORDS.get(hint, str(hint))


def _show(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
