"""Command lines as dataclasses, and the two habits of other tools that are welcome here.

Hyphens and underscores are alike (tyro sees to that), and ``--flag=True`` means ``--flag``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
import shlex
import sys
import typing
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import tyro

from ..errors import wrapped
from ..plugins import UsageError
from .kinds import TYPES

T = TypeVar("T")

#: How help is asked for.
HELP = ("-h", "--help")
_SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class LeftOver(UsageError):
    """``words`` that no option took, nor any argument without a flag."""

    def __init__(self, command: str, words: Sequence[str]) -> None:
        self.words = words
        super().__init__(
            f"offboard {command} takes no {' '.join(words)!r:.200}; offboard {command} --help shows what it takes"
        )


def parse(options: type[T], arguments: Sequence[str], command: str, summary: str) -> T:
    """The options of ``offboard COMMAND``: a dataclass; every path in it has its ``~`` replaced.

    Prints help, or what is wrong with the nearest options, and raises SystemExit; raises LeftOver for words alone, and
    UsageError for a text that was taken for an option.
    """
    read = partial(
        tyro.cli,
        options,
        prog=f"offboard {command}",
        description=description(summary),
        args=switches(arguments, options),
        config=(tyro.conf.FlagCreatePairsOff,),
        registry=TYPES,
    )
    left = list[str]()
    if not set(HELP).intersection(arguments):
        try:
            return expand_paths(read(console_outputs=False))
        except SystemExit:
            _refuse_dashed(arguments, options)
            left = _left(read)
    if left and not any(word.startswith("-") for word in left):
        raise LeftOver(command, left)
    return expand_paths(read())  # which prints why it leaves


def _refuse_dashed(arguments: Sequence[str], options: type) -> None:
    """Raises UsageError where an option that takes a text is followed by one that begins as options do."""
    texts = {name for name, hint in _fields(options) if str in (hint, *typing.get_args(hint))}
    own = {name for name, _ in _fields(options)}
    for flag, value in itertools.pairwise(arguments):
        word = value.partition("=")[0].removeprefix("--").replace("-", "_")
        if flag[2:].replace("-", "_") in texts and flag.startswith("--") and value.startswith("--") and word not in own:
            raise UsageError(
                f"{flag} needs a value; {value[:80]!r} begins as an option does: "
                f"write {flag}={shlex.quote(value)[:200]}"
            )


def _left(read: Callable[..., tuple[object, list[str]]]) -> list[str]:
    """What nothing takes; nothing if more is wrong."""
    with contextlib.suppress(SystemExit):
        return read(return_unknown_args=True, console_outputs=False)[1]
    return []


def description(summary: str) -> str:
    """``summary`` for the help: tyro does not wrap it, and joins lines that are not indented."""
    return wrapped(f"  {summary}", sys.stdout, "  ")


def switches(arguments: Sequence[str], options: type) -> list[str]:
    """``--flag=True`` as ``--flag`` and ``--flag=False`` as nothing, for the fields of ``options`` that are bool."""
    flags = {name for name, hint in _fields(options) if hint is bool}
    kept: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        on = _SWITCH.get(value.lower()) if equals and name.startswith("--") else None
        if on is None or name[2:].rpartition(".")[2].replace("-", "_") not in flags:
            kept.append(argument)
        elif on:
            kept.append(name)
    return kept


def peek(arguments: Sequence[str], option: str) -> str | None:
    """The last value of one option, however it is written, before the options are known."""
    pattern = re.compile(rf"--{option.replace('_', '[-_]')}(?:=(.*))?", re.DOTALL)
    value: str | None = None
    for i, argument in enumerate(arguments):
        if match := pattern.fullmatch(argument):
            value = match[1] if match[1] is not None else next(iter(arguments[i + 1 : i + 2]), None)
    return value


def expand_paths(options: T) -> T:
    """A dataclass with ``~`` replaced in every field that is a path."""
    instance: Any = options
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if isinstance(value, Path):
            changes[field.name] = value.expanduser()
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = expand_paths(value)
    return dataclasses.replace(instance, **changes)


def _fields(options: type) -> list[tuple[str, Any]]:
    """The fields with their types, those of nested dataclasses included."""
    found: list[tuple[str, Any]] = []
    for name, hint in typing.get_type_hints(options).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            found += _fields(hint)
        else:
            found.append((name, hint))
    return found
