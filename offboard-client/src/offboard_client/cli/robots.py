"""``offboard robots``, and ``offboard robots NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ..play import RobotLimits, load_limits
from ..plugins import Found, UsageError
from ..robots import RobotEntry, choose_robot, list_robots, make_robot
from ..terminal import emit_facts, emit_json, parse, say, split_dotted, tell
from .contract import show_spec
from .limit_options import LimitsFile, show_limits
from .own_options import listed, parse_together, robots_part


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard robots``."""

    limits_file: LimitsFile = None
    """Show what this file of limits (TOML) says of the robot, too."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Asked(Options):
    """The command line where no robot comes first."""

    name: Annotated[Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """Show this one, which is not connected, and does not move; without it all of them are listed."""


def run(arguments: list[str]) -> int:
    """List the robots; or show what one measures and plays, which neither connects nor moves it.

    Raises UsageError for options of no robot, ConfigurationError for a robot that there is not or that is broken.
    """
    if arguments and not arguments[0].startswith("-"):
        return _show(arguments[0], arguments[1:])
    options = parse(
        Asked,
        arguments,
        "robots",
        "List the robots that are installed. `offboard robots NAME` shows what one measures and plays, and takes its "
        "options.",
    )
    if options.name is not None:
        limits = [] if options.limits_file is None else ["--limits", str(options.limits_file)]
        return _show(options.name, [*limits, *["--json"] * options.json])
    if options.limits_file is not None:
        raise UsageError("limits are those of one robot: offboard robots NAME --limits FILE")
    if options.json:
        emit_json({"robots": [_described(found) for found in list_robots()]})
    else:
        emit_facts("robots", [listed(found) for found in list_robots()])
    return 0


def _show(name: str, arguments: list[str]) -> int:
    chosen = choose_robot(name)
    parts = {"robots": ("offboard robots", Options), "robot": robots_part(chosen)}
    rest, dotted = split_dotted(arguments, filter(None, [chosen.entry.dotted]))
    found = parse_together(
        parts, rest, f"robots {chosen}", f"Show what a robot measures and plays. {chosen.entry.summary}"
    )
    robot = make_robot(chosen, chosen.entry.with_dotted(found.robot, dotted))
    spec = robot.spec
    file: Path | None = found.robots.limits_file
    limits = RobotLimits() if file is None else load_limits(file)
    limits.check_joints(spec)
    limits.check_reach(robot.kinematics)
    stated = file is not None or spec.simulated
    if found.robots.json:
        about = {"name": str(chosen), "summary": chosen.entry.summary, "provider": chosen.provider}
        emit_json({**about, **spec.as_dict(), "limits": limits.as_dict() if stated else None})
        return 0
    say(f"{chosen} ({chosen.provider})")
    show_spec(spec)
    if stated:
        show_limits(limits, robot)
        if (unheld := limits.unheld(robot, robot.actions)) is not None:
            tell(unheld)
    else:
        tell("it is no simulation: `offboard run` needs its limits, --limits FILE")
    return 0


def _described(found: Found[RobotEntry]) -> dict[str, str | None]:
    entry = found.entry
    return {
        "name": found.name,
        "part": entry.part if entry else None,
        "summary": entry.summary if entry else None,
        "provider": found.provider,
        "cause": found.cause or None,
    }
