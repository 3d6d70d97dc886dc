"""Calling a robot that somebody else wrote: whatever it raises has a name, and it is stopped and closed in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from ..errors import OffboardError, RobotFailed, told
from .base import Robot

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Robot)


class Asked:
    """Around one call of a robot or its task: anything but an OffboardError is raised as RobotFailed in ``what``."""

    # No generator: this is around every command.
    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # SystemExit included: a driver's library that leaves the program leaves an arm behind that nobody stops.
        if isinstance(error, (Exception, SystemExit)) and not isinstance(error, OffboardError):
            log.debug("the robot failed in %s", self._what, exc_info=error)
            raise RobotFailed(f"the robot failed in {self._what}: {told(error)}") from error


@contextmanager
def held(robot: Robot) -> Generator[None, None, None]:
    """In the end the robot is told to stop, whatever has happened. Raises RobotFailed if it fails in that."""
    with _finally(robot.stop, "stop"):
        yield


@contextmanager
def connected(robot: R) -> Generator[R, None, None]:
    """``robot``, connected; in the end it is told to stop and closed, whatever has happened.

    Raises what keeps it from connecting, stopping or closing; what had happened before is in the text.
    """
    with _finally(robot.close, "close"):
        with Asked("connect"):
            robot.connect()
        with held(robot):
            yield robot


@contextmanager
def _finally(call: Callable[[], None], what: str) -> Generator[None, None, None]:
    try:
        yield
    except BaseException as before:
        try:
            with Asked(what):
                call()
        except OffboardError as error:
            raise RobotFailed(f"{error.text}; before that: {told(before)}") from before
        raise
    with Asked(what):
        call()
