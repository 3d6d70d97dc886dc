"""Calls of a robot that have an end: made on a thread of its own, which is left where one does not come back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from ..errors import ConfigurationError, RobotFailed
from .base import Cameras, Leader, Robot, Task
from .calls import STOPPING, apply

log = logging.getLogger(__name__)
T = TypeVar("T")
#: Seconds that a call may take beyond its own time, and how many times as many opening and setting up may beside them.
PATIENCE, LONGER = 30.0, 9.0
#: Seconds after which whoever waits looks up: some systems deliver a signal only then.
_LOOK = 0.25


class _Call:
    """One call on its way to the thread and back."""

    __slots__ = ("call", "cancelled", "done", "error", "value")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call, self.done, self.cancelled = call, threading.Event(), False
        self.value: Any = None
        self.error: BaseException | None = None


class OwnThread:
    """A thread that makes all calls of one robot, one after the other, whoever asks for them.

    A call that does not come back in time is left: a thread cannot be ended. Who asks after that is told so, unless it
    comes back within 5 s of being left. It ends with the process at the latest.
    """

    def __init__(self, name: str, patience: float = PATIENCE) -> None:
        """``patience``: seconds that a call may take beyond its own time. Raises ConfigurationError for none."""
        check_patience(patience)
        self.patience = patience
        self._name = name
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._left: tuple[_Call, str, float] | None = None

    @property
    def stuck(self) -> bool:
        """Whether a call that nobody waits for any more has not come back."""
        return self._left is not None and not self._left[0].done.is_set()

    def __call__(self, what: str, call: Callable[[], T], seconds: float = 0.0, *, whole: bool = False) -> T:
        """What ``call`` returns; raises what it raises. ``seconds``: that it takes by itself; ``what``: as errors say.

        ``whole``: who is interrupted in it and calls again, to close what it has half opened, waits for it first.
        Raises RobotFailed where it does not come back.
        """
        self._start()
        limit = self.patience + seconds
        if self._left is not None and self.stuck:
            limit = max(self._left[2] + STOPPING - time.monotonic(), 0.0)
        made, end = _Call(call), time.monotonic() + limit
        self._calls.put(made)
        try:
            while not made.done.wait(max(min(_LOOK, end - time.monotonic()), 0.0)):
                if time.monotonic() >= end:
                    said = f"within {limit:g} s; see what its driver waits for there"
                    raise RobotFailed(self._leave(made, f"the robot did not come back from {what} {said}"))
        except KeyboardInterrupt:
            said = f"the robot had not come back from {what} when it was interrupted, and does not"
            self._leave(made, said, end if whole else None)
            if whole:
                log.warning("waiting for %s, to close what it has opened; another interrupt leaves it open", what)
            raise
        if made.error is not None:
            raise made.error
        return cast("T", made.value)

    def end(self) -> None:
        """No call is made any more; the one that is under way is waited for as long as a stop is."""
        if self._thread is not None:
            self._calls.put(None)
            if not self.stuck:
                self._thread.join(STOPPING)

    # -- inside ----------------------------------------------------------------------------------------
    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _leave(self, made: _Call, said: str, until: float | None = None) -> str:
        """What there is to say of the call that everybody waits for: ``said``, if it is ``made``.

        If that has not begun it never does. ``until``: when it is to come back; None: it should have.
        """
        made.cancelled = True
        if self._left is None or self._left[0].done.is_set():
            self._left = made, said, time.monotonic() if until is None else until
        return self._left[1]

    def _run(self) -> None:
        while (made := self._calls.get()) is not None:
            if not made.cancelled:
                try:
                    made.value = made.call()
                except BaseException as error:  # raised again where it is waited for
                    made.error = error
            made.done.set()
            del made


class WatchedRobot(Robot):
    """A robot whose calls all have an end: a :class:`OwnThread` makes them, but for ``stop``, which any thread may."""

    def __init__(self, robot: Robot, thread: OwnThread) -> None:
        self._robot, self._call = robot, thread
        self.spec, self.kinematics, self.realtime = robot.spec, robot.kinematics, robot.realtime
        self.translations = robot.translations
        self.leader = None if robot.leader is None else _WatchedLeader(robot.leader, thread)

    @property
    def taken(self) -> Mapping[str, float]:
        """See :attr:`Robot.taken`."""
        return self._call("taken", lambda: dict(self._robot.taken))

    @property
    def live_cameras(self) -> Cameras | None:
        """See :attr:`Robot.live_cameras`; any thread may look at them."""
        return self._robot.live_cameras

    def connect(self) -> None:
        """See :meth:`Robot.connect`."""
        self._call("connect", self._robot.connect, _longer(self._call), whole=True)

    def observe(self) -> dict[str, Any]:
        """See :meth:`Robot.observe`."""
        return self._call("observe", self._robot.observe)

    def state(self) -> dict[str, Any]:
        """See :meth:`Robot.state`."""
        return self._call("state", self._robot.state)

    def apply(self, action: Mapping[str, Any], seconds: float, start: Mapping[str, Any] | None = None) -> None:
        """See :meth:`Robot.apply`."""
        self._call("apply", lambda: apply(self._robot, action, seconds, start), seconds)

    def stop(self) -> None:
        """See :meth:`Robot.stop`."""
        self._robot.stop()

    def close(self) -> None:
        """See :meth:`Robot.close`."""
        self._call("close", self._robot.close)


class WatchedTask:
    """A task whose calls all have an end. A :class:`~offboard_client.robots.Task`, with what else the task has."""

    def __init__(self, task: Task, thread: OwnThread) -> None:
        self._task, self._call = task, thread

    @property
    def instruction(self) -> str | None:
        """The task's own."""
        return self._task.instruction

    def reset(self, seed: int) -> None:
        """See :meth:`Task.reset`."""
        self._call("reset", lambda: self._task.reset(seed), _longer(self._call))

    def succeeded(self) -> bool | None:
        """See :meth:`Task.succeeded`."""
        return self._call("succeeded", self._task.succeeded)

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._task, name)  # start, over, scores: it may have them

        def call(*given: Any) -> Any:
            return self._call(name, lambda: found(*given))

        return call if callable(found) else found


class _WatchedLeader:
    def __init__(self, leader: Leader, thread: OwnThread) -> None:
        self._leader, self._call = leader, thread

    def action(self) -> Mapping[str, Any]:
        """See :meth:`Leader.action`."""
        return self._call("leader", self._leader.action)


def check_patience(seconds: float) -> None:
    """Raises ConfigurationError for what is no time for a call of a robot."""
    if not 0 < seconds < 86400:
        raise ConfigurationError(f"the robot's calls may take {seconds:g} s; expected more than 0, and less than a day")


def _longer(thread: OwnThread) -> float:
    return LONGER * thread.patience
