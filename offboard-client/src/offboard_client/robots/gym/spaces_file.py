"""The file beside an environment: which part of its spaces has which name, what that means, and what is success."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

from ...errors import ConfigurationError
from ...plugins import build

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A part of what is observed.

    ``key``: of a Dict space, dots between those of nested ones; None: the whole space. ``slice``: from its number a to
    before its number b. ``render``: it is what ``render()`` returns instead. The others: as of a
    :class:`~offboard_client.robots.Channel`.
    """

    key: str | None = None
    slice: tuple[int, int] | None = None
    render: bool = False
    unit: str | None = None
    frame: str | None = None
    order: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Played:
    """A part of the action.

    ``kind``: ``absolute``, where to: it stays what it was where nothing is said of it. ``velocity`` and ``delta``: how
    fast and how far, for which 0 holds still. ``low`` and ``high``: narrower than the space's own bounds, one number or
    one for each. The others: as of :class:`Measured`.
    """

    kind: Literal["absolute", "velocity", "delta"]
    key: str | None = None
    slice: tuple[int, int] | None = None
    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    unit: str | None = None
    frame: str | None = None
    order: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What success is, one of these: ``info``, that entry of the last step's info is true; ``terminated``, the last
    step has ended the episode; ``reward``, no step's was below it at best.
    """

    info: str | None = None
    terminated: bool = False
    reward: float | None = None


@dataclass(frozen=True, kw_only=True)
class SpacesFile:
    """Everything in the file.

    ``simulated``: true. ``fps``: steps per second that the environment is played at. ``module``: what has to be
    imported for Gymnasium to know the id. ``task``: the instruction. ``ignore``: keys of the observation that have no
    name. ``make``: what the environment is made with.
    """

    simulated: bool
    fps: float
    observation: Mapping[str, Measured]
    action: Mapping[str, Played]
    success: Judged | None = None
    module: str | None = None
    task: str | None = None
    ignore: tuple[str, ...] = ()
    make: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_spaces(path: str | PathLike[str]) -> SpacesFile:
    """The file, as far as it can be judged without the environment. Raises ConfigurationError that names it."""
    path = Path(path)
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the file of spaces {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    try:
        return _read(found)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.text}") from error


def _read(found: dict[str, Any]) -> SpacesFile:
    plain = {key: value for key, value in found.items() if key not in ("observation", "action", "success", "make")}
    parts: dict[str, Any] = {
        "observation": _parts(found, "observation", Measured),
        "action": _parts(found, "action", Played),
        "make": _table(found, "make") if "make" in found else {},
    }
    if "success" in found:
        parts["success"] = build(Judged, _table(found, "success"), "success", ConfigurationError)
        _check_judged(parts["success"])
    made = build(_Plain, plain, "the file", ConfigurationError)
    spaces = SpacesFile(**{each.name: getattr(made, each.name) for each in fields(made)}, **parts)
    if not spaces.simulated:
        raise ConfigurationError(
            "simulated is false, and what moves in earnest is not played so: an environment moves it by reset, "
            "where nobody's limits hold. Write a Robot for it (docs/how-to/own-robot.md)"
        )
    if not 1 <= spaces.fps <= 1000:
        raise ConfigurationError(f"fps is {spaces.fps:g}; expected steps per second, from 1 to 1000")
    return spaces


@dataclass(frozen=True, kw_only=True)
class _Plain:
    """What stands outside the tables."""

    simulated: bool
    fps: float
    module: str | None = None
    task: str | None = None
    ignore: tuple[str, ...] = ()


def _check_judged(judged: Judged) -> None:
    if sum((judged.info is not None, judged.terminated, judged.reward is not None)) != 1:
        raise ConfigurationError(
            'success is one of { info = "NAME" }, { terminated = true } and { reward = NUMBER }; without it nobody '
            "judges"
        )


def _parts(found: Mapping[str, Any], table: str, kind: type[Any]) -> dict[str, Any]:
    parts = _table(found, table)
    if not parts:
        raise ConfigurationError(f"[{table}] names nothing")
    return {
        name: build(kind, _table(parts, name, f"{name!r} of [{table}]"), f"{name} of [{table}]", ConfigurationError)
        for name in parts
    }


def _table(found: Mapping[str, Any], name: str, what: str | None = None) -> Mapping[str, Any]:
    table: Any = found.get(name)
    if not isinstance(table, Mapping):
        said = "is missing" if table is None else f"is {table!r:.40}"
        raise ConfigurationError(f"{what or f'[{name}]'} {said}; expected a table")
    return cast("Mapping[str, Any]", table)
