"""``--limits FILE`` and ``--limits.NAME``: what a robot may be sent, read before the other options are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, cast

import tyro

from ..drivers import Playing
from ..errors import ConfigurationError
from ..play import RobotLimits, SafetyLimits, load_limits
from ..plugins import UsageError
from ..robots import Robot, RobotSpec
from ..terminal import emit_facts, peek
from .contract import text

T = TypeVar("T")

_OPEN = "(0 open, 1 closed)"
#: Of what a table of limits shows.
UNITS = {
    "linear_velocity": "m/s",
    "angular_velocity": "rad/s",
    "joint_velocity": "rad/s",
    "grip_velocity": "closures/s",
    "linear_acceleration": "m/s²",
    "angular_acceleration": "rad/s²",
    "joint_acceleration": "rad/s²",
    "position_offset": "m",
    "rotation_offset": "rad",
    "joint_offset": "rad",
    "workspace_low": "m",
    "workspace_high": "m",
    "joint_low": "rad",
    "joint_high": "rad",
    "grip_low": _OPEN,
    "grip_high": _OPEN,
    "safe_after": "s",
    "fault_after": "s",
    "target_pose": "m and quaternion w x y z",
    "target_joints": "rad",
    "target_grip": _OPEN,
}

#: The file, as a field of a command's options.
LimitsFile: TypeAlias = Annotated[Path | None, tyro.conf.arg(name="limits", metavar="FILE")]


def peek_limits(arguments: Sequence[str]) -> RobotLimits | None:
    """What the file says that a command line names, if it names one. Raises ConfigurationError."""
    named = peek(arguments, "limits")
    return None if named is None or named.startswith("-") else load_limits(Path(named).expanduser())


def with_limits(options: type[T], limits: RobotLimits) -> type[T]:
    """``options`` whose defaults are those of a file."""
    known = {each.name for each in dataclasses.fields(cast("Any", options))}
    changed: list[tuple[str, Any, Any]] = []
    if "limits" in known:
        changed.append(("limits", SafetyLimits, dataclasses.field(default=limits.limits)))
    if "playing" in known and limits.patience is not None:
        playing = dataclasses.field(default=Playing(patience=limits.patience))
        changed.append(("playing", Annotated[Playing, tyro.conf.arg(name="")], playing))
    made: Any = dataclasses.make_dataclass(options.__name__, changed, bases=(options,), frozen=True, kw_only=True)
    return made


def robot_limits(options: Any, file: RobotLimits | None) -> RobotLimits:
    """The file's, with what the options say beside it. Raises UsageError where that is wider."""
    limits: SafetyLimits | None = getattr(options, "limits", None)
    playing: Playing | None = getattr(options, "playing", None)
    found = file or RobotLimits(limits or SafetyLimits())
    try:
        found = found if limits is None or file is None else file.narrowed(limits)
    except ConfigurationError as error:
        raise UsageError(error.text) from error
    return found if playing is None else dataclasses.replace(found, patience=playing.patience)


def require_limits(robot: object, spec: RobotSpec, limits: RobotLimits) -> None:
    """Raises UsageError for a robot that moves in the world, where no file says how far and how fast.

    Raises ConfigurationError for limits of another number of joints.
    """
    if not spec.simulated and limits.file is None:
        raise UsageError(
            f"{robot} is no simulation, and no file says what it may be sent: --limits FILE "
            "(docs/how-to/limits.md has one to begin with)"
        )
    limits.check_joints(spec)


def show_limits(limits: RobotLimits, robot: Robot) -> None:
    """Print what a robot may be sent, and where it goes by itself."""
    data = limits.as_dict()
    if robot.kinematics is not None:
        data["kinematics"] = "the robot's own"
    of = "the defaults" if data["file"] is None else data["file"]
    del data["file"]
    emit_facts(f"what it may be sent ({of})", [(name, _text(name, value)) for name, value in data.items()])


def _text(name: str, value: Any) -> str:
    """With its unit; a map has one for each of its entries."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        return ", ".join(f"{each} {_text(each, entry)}" for each, entry in entries)
    unit = UNITS.get(name)
    return text(value) if unit is None else f"{text(value)} {unit}"
