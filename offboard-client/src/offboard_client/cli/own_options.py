"""Robots and policies that are chosen by name: how they are listed, and their options beside a command's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import tyro

from ..errors import BadParameter, ConfigurationError, OffboardError, told
from ..play import PolicyEntry
from ..plugins import Chosen, Found, UsageError, asked
from ..robots import RobotEntry
from ..terminal import parse

#: Whose options these are, as an error calls it, and their dataclass.
Part = tuple[str, type[Any]]


def robots_part(robot: Chosen[RobotEntry]) -> Part:
    """The options of a robot. Raises ConfigurationError."""
    return f"the robot {robot} of {robot.provider}", robot.options()


def parse_together(parts: Mapping[str, Part], arguments: Sequence[str], command: str, summary: str) -> Any:
    """An object with an instance of each part under its name. The help shows them in their order.

    Raises UsageError for what they refuse, ConfigurationError where two declare the same option or one fails.
    """
    _check_apart(parts)
    fields = [(name, Annotated[options, tyro.conf.arg(name="")]) for name, (_, options) in parts.items()]
    together = dataclasses.make_dataclass("Options", cast("Any", fields), frozen=True)
    try:
        return cast("Any", parse(together, arguments, command, summary))
    except (BadParameter, ConfigurationError) as error:
        raise UsageError(error.text) from error
    except ValueError as refused:  # tyro reports it itself only for options that have a prefix of their own
        raise UsageError(f"offboard {command} refuses its options: {refused}") from refused
    except (OffboardError, UsageError):
        raise
    except Exception as failed:  # a default or a check of somebody else's
        others = [owner for owner, _ in parts.values() if not owner.startswith("offboard ")]
        raise ConfigurationError(
            f"the options of {' or '.join(others) or 'offboard'} cannot be made: {told(failed)}"
        ) from failed


def _check_apart(parts: Mapping[str, Part]) -> None:
    """Raises ConfigurationError where two declare the same option."""
    owners: dict[str, str] = {}
    for owner, options in parts.values():
        for each in dataclasses.fields(options):
            before = owners.setdefault(each.name, owner)
            if before != owner:
                raise ConfigurationError(f"{owner} declares an option that {before} has already: {each.name}")


def listed(found: Found[RobotEntry] | Found[PolicyEntry]) -> tuple[str, str]:
    """One of a listing: how it is asked for, and what there is to say about it."""
    if found.entry is None:
        return found.name, f"cannot be used ({found.provider}): {found.cause}"
    return asked(found), f"{found.entry.summary} ({found.provider})"
