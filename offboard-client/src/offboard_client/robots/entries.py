"""Robots that installed packages offer: the entry-point group ``offboard.robots``, each entry a :class:`RobotEntry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from ..errors import ConfigurationError
from ..plugins import Chosen, Entry, Found, choose, discover
from .base import Robot, Task
from .spec import RobotSpec

GROUP = "offboard.robots"


@dataclass(frozen=True, kw_only=True)
class RobotEntry(Entry):
    """A robot: ``factory(options) -> Robot``. Entry points of the group ``offboard.robots`` name one each.

    ``task``: ``"module:attr"`` of ``task(robot, instruction) -> Task``: what is evaluated on it unless somebody says
    otherwise; ``instruction`` is what ``--task`` says, or None. It raises BadParameter for one that it cannot judge.
    Without it a person sets the scene up and judges (:class:`Unjudged`).
    """

    task: str | Callable[[Any, str | None], Task] | None = None


@dataclass(frozen=True)
class Unjudged:
    """A task that a person sets up and judges: an episode starts where the robot stands, and nobody says how it ended.

    A :class:`~offboard_client.robots.Task`.
    """

    instruction: str | None = None

    def reset(self, seed: int) -> None:
        """Nothing."""

    def succeeded(self) -> None:
        """None: nobody can tell."""


def list_robots() -> list[Found[RobotEntry]]:
    """The robots of this environment, by name; imports what declares them, and none of their libraries."""
    return discover(GROUP, RobotEntry)


def choose_robot(name: str) -> Chosen[RobotEntry]:
    """The robot of this name, ``NAME`` or ``NAME:PART``; see :func:`~offboard_client.plugins.choose`."""
    return choose(name, GROUP, RobotEntry, "robot")


def make_robot(chosen: Chosen[RobotEntry], options: Any) -> Robot:
    """The robot, not connected yet. Raises ConfigurationError, or what its factory says is wrong."""
    robot = cast("Robot", chosen.make(Robot, options))
    if not isinstance(getattr(robot, "spec", None), RobotSpec):
        raise ConfigurationError(
            f"{chosen}: the robot of {chosen.provider} has no spec; RobotSpec(measures=…, plays=…, control_period=…) "
            "says what it is before it is connected"
        )
    return robot


def make_task(chosen: Chosen[RobotEntry], robot: Robot, instruction: str | None) -> Task:
    """What is evaluated on it. Raises ConfigurationError, or what the entry's ``task`` says is wrong."""
    if chosen.entry.task is None:
        return Unjudged(instruction)
    return cast("Task", chosen.maker.make(chosen.entry.task, Task, robot, instruction))
