"""When the rows of a chunk are played, on the robot's own clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ..chunks import due_times
from ..robots import Robot, apply


@dataclass(frozen=True)
class Command:
    """What the robot is sent next, and for how long: a whole number of its control periods.

    ``action``: {} holds still. ``row``: which row of the chunk it is; None for a hold. ``start``: what the robot was
    measured at when this was checked, where nothing has commanded the arm since; else None.
    """

    action: Mapping[str, Any]
    seconds: float
    row: int | None = None
    start: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def play_on(self, robot: Robot) -> None:
        """:meth:`~offboard_client.robots.Robot.apply` of it; returns when it was played. Raises what that raises."""
        apply(robot, self.action, self.seconds, self.start)


def schedule(
    rows: Sequence[Mapping[str, Any]], action_period: float, control_period: float, left: float = math.inf
) -> list[Command]:
    """The commands that play a chunk, one after the other from now on, with holds where no row is due.

    A row is played from the control period nearest to its timestamp for ``action_period``, or until the next one is
    due, and for one control period at least. Of several rows in one control period the last is played. A row that would
    outlast ``left`` is not begun: the robot holds still for the rest. All in seconds. Raises InvalidAction.
    """
    due = due_times(rows, action_period)
    parts = [
        (at, at + action_period, cast("Mapping[str, Any]", row["action"]), number)
        for number, (row, at) in enumerate(zip(rows, due, strict=True))
    ]
    return lay_out(parts, control_period, left)


def lay_out(
    parts: Sequence[tuple[float, float, Mapping[str, Any], int]], control_period: float, left: float = math.inf
) -> list[Command]:
    """The same of parts that say when they begin, and until when they are played where no other one begins before.

    Each: seconds from now, seconds from now, action, row.
    """
    begins = [max(round(part[0] / control_period), 0) for part in parts]
    last = _whole(left, control_period)
    commands: list[Command] = []
    now = 0

    def wait(until: float) -> None:
        if until > now:
            commands.append(Command({}, (until - now) * control_period))

    for number, ((_, until, action, row), begin) in enumerate(zip(parts, begins, strict=True)):
        following = begins[number + 1] if number + 1 < len(begins) else math.inf
        end = min(max(round(until / control_period), begin + 1), following)
        if end <= begin:
            continue
        if end > last:
            wait(last)
            break
        wait(begin)
        commands.append(Command(action, (end - begin) * control_period, row))
        now = int(end)
    return commands


def hold(action_period: float, control_period: float, left: float = math.inf) -> Command:
    """Stands still for one action, or what is left of the episode; for one control period at least."""
    periods = min(round(action_period / control_period), _whole(left, control_period))
    return Command({}, max(periods, 1) * control_period)


def _whole(left: float, control_period: float) -> float:
    return left if math.isinf(left) else math.floor(left / control_period + 1e-6)
