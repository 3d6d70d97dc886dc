"""Calling a robot that somebody else wrote: whatever it raises has a name, and it is stopped and closed in the end."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from ..errors import OffboardError, RobotFailed, told
from .base import Robot

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Robot)
#: Seconds that a robot has to come back from being told to stop.
STOPPING = 5.0


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


def apply(robot: Robot, action: Mapping[str, Any], seconds: float, start: Mapping[str, Any] | None) -> None:
    """:meth:`Robot.apply`, with ``start`` if the robot takes it."""
    play: Callable[..., None] = robot.apply
    if start is None or not _takes_start(play):
        play(action, seconds)
    else:
        play(action, seconds, start=start)


@contextmanager
def held(robot: Robot) -> Generator[None, None, None]:
    """In the end the robot is told to stop, whatever has happened.

    Raises RobotFailed if it fails in that, or does not come back from it within 5 s.
    """
    with _finally(lambda: _stop(robot), "stop"):
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


def not_back() -> RobotFailed:
    """The error of a robot that does not return from ``stop``."""
    return RobotFailed(
        f"the robot did not come back from stop within {STOPPING:g} s of being told to; see what its driver waits for "
        "there"
    )


def _takes_start(play: Callable[..., None]) -> bool:
    try:
        return "start" in inspect.signature(play).parameters
    except (TypeError, ValueError):  # of no Python function
        return False


def _stop(robot: Robot) -> None:
    failed: list[BaseException] = []

    def stop() -> None:
        try:
            robot.stop()
        except BaseException as error:  # raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=stop, name="offboard-stop", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is left, and it has to be told all the same
        robot.stop()
        return
    thread.join(STOPPING)
    if thread.is_alive():
        raise not_back()
    if failed:
        raise failed[0]


@contextmanager
def _finally(call: Callable[[], None], what: str) -> Generator[None, None, None]:
    try:
        yield
    except BaseException as before:
        try:
            with Asked(what):
                call()
        except OffboardError as error:
            if error.text not in (said := told(before)):  # a robot that hangs in stop does so each time
                raise RobotFailed(f"{error.text}; before that: {said}") from before
        raise
    with Asked(what):
        call()
