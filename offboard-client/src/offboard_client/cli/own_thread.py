"""A command's robot and its task, made and called on a thread of their own, so that each call of them has an end."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ..errors import BadParameter
from ..plugins import Chosen, UsageError
from ..robots import LONGER, OwnThread, Robot, RobotEntry, Task, WatchedRobot, WatchedTask, make_robot, make_task
from .main import AT_ONCE


@contextmanager
def on_own_thread(
    chosen: Chosen[RobotEntry], options: Any, instruction: str | None, patience: float
) -> Generator[tuple[Robot, Task], None, None]:
    """``patience``: seconds that a call may take beyond its own time.

    Where one has not come back in the end, it cannot keep the process. Raises UsageError for an instruction that the
    task refuses, what making them raises, and RobotFailed where that does not come back.
    """
    thread = OwnThread("offboard-robot", patience)
    try:
        robot = thread("being made", lambda: make_robot(chosen, options), LONGER * patience)
        try:
            task = thread("its task's being made", lambda: make_task(chosen, robot, instruction))
        except BadParameter as error:
            raise UsageError(error.text) from error
        yield WatchedRobot(robot, thread), WatchedTask(task, thread)
    finally:
        thread.end()
        if thread.stuck:
            AT_ONCE.set()
