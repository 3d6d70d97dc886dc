"""What the thread that controls the arm makes of what is posted: it holds, ends, or goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..errors import OffboardError, RobotFailed
from ..play import ENDS, Controls, GiveBack, Instruct, Quit, Reset, Start, Stop, TakeOver
from ..robots import STOPPING, Asked, Robot, not_back, observed

log = logging.getLogger(__name__)


class Attention:
    """A driver's to its controls.

    Whatever holds the arm or ends the episode is told the robot at once (:meth:`paid`); :meth:`lost` says between two
    commands that what was planned is over. Not thread-safe.
    """

    def __init__(
        self,
        controls: Controls,
        robot: Robot,
        period: float,
        sleep: Callable[[float], None],
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        """``period``: seconds, how often it looks while it waits for a person; ``sleep``: how; ``idle``: what is done
        meanwhile."""
        self._controls, self._robot, self._period, self._sleep = controls, robot, period, sleep
        self._idle = idle
        #: What ended the episode, or the one before until the next has begun.
        self.end: Stop | Reset | Quit | None = None
        #: What the policy is told instead of the task's own instruction; None: nothing was said.
        self.instruction: str | None = None
        #: Whether a person leads the arm.
        self.led = False
        # Whether somebody has said Start since, or Reset.
        self._go, self._dropped = False, False
        self._halted = False
        # What came of the last time that the robot was told to stop and did not: nobody knows what it does now.
        self._unstopped: RobotFailed | None = None
        # Set while nobody is telling the robot to stop. Whoever does waits for nothing, not for an observation either.
        self._back = threading.Event()
        self._back.set()
        # Set while nothing is played.
        self._still = threading.Event()
        self._still.set()

    def paid(self) -> AbstractContextManager[None]:
        """Within, the robot is told to stop as soon as somebody posts what holds or ends."""
        return self._controls.halting(self._halt)

    @contextmanager
    def in_motion(self) -> Generator[None, None, None]:
        """Within, :meth:`lost` is asked in each control period."""
        self._still.clear()
        self._controls.attended = True
        try:
            yield
        finally:
            self._controls.attended = False
            self._still.set()

    @property
    def holding(self) -> bool:
        """Whether the arm is to hold still."""
        return self._controls.hold

    def may_begin(self, attended: bool = False) -> bool:
        """Before an episode. Waits for Start if the one before was stopped, or if each begins with a person's word.

        False once somebody has quit.
        """
        self._take()
        try:
            while (attended or self.end is not None) and not isinstance(self.end, Quit) and not self._go:
                self._controls.waiting = True
                self._wait()
        finally:
            self._controls.waiting = False
        if isinstance(self.end, Quit):
            return False
        self.end, self._dropped, self._go, self.led = None, False, False, False
        return True

    def may_move(self) -> bool:
        """Before a motion. Waits while the arm is to hold still; False if the episode is to end.

        Raises RobotFailed for a robot that does not come back from being told to stop, as :meth:`observe` does, and for
        one that failed in it.
        """
        while True:
            self._renew()
            self._take()
            if self.end is not None or not self.holding:
                return self.end is None
            self._idle()
            self._sleep(self._period)

    def lost(self) -> bool:
        """Whether what was planned is over: the robot was told to stop, may not have got there, and drops the rest.

        Raises RobotFailed for one that failed in stopping, as :meth:`observe` and :meth:`may_move` do.
        """
        self._check_stopped()
        self._take()
        return self._halted or self.end is not None or self.holding

    def observe(self) -> dict[str, Any]:
        """The robot's observation, after which it plays again."""
        self._renew()
        return observed(self._robot)

    def ended(self) -> bool:
        """Whether somebody has ended the episode."""
        self._take()
        return self.end is not None

    def over(self) -> bool:
        """The episode has ended, whatever ended it. Whether something of it shall be kept.

        Who said Start while it went on did not mean the next one.
        """
        self._take()
        self._go &= self.end is not None
        return not self._dropped

    def _renew(self) -> None:
        """The robot has come back from whatever stopped it; of whoever stops it from here on, :meth:`lost` knows."""
        self._halted = False  # before the wait: who comes in between sets it again
        if not self._back.wait(STOPPING):
            raise not_back()
        self._check_stopped()

    def _check_stopped(self) -> None:
        error, self._unstopped = self._unstopped, None
        if error is not None:
            raise error

    def _halt(self) -> None:
        self._back.clear()
        self._halted = True
        try:
            with Asked("stop"):
                self._robot.stop()
        except OffboardError as error:
            self._unstopped = RobotFailed(f"the robot did not stop when it was told to: {error.text}")
            raise
        finally:
            self._back.set()
        # It holds when what was being played has returned, too.
        self._still.wait(STOPPING)

    def _wait(self) -> None:
        self._idle()
        self._sleep(self._period)
        self._take()

    def _take(self) -> None:
        for command in self._controls.take():
            if isinstance(command, ENDS):
                self._go = False
                self._dropped |= isinstance(command, Reset)
                self.end = self.end if isinstance(self.end, Quit) else command
            elif isinstance(command, Start):
                self._go = True
            elif isinstance(command, Instruct):
                self.instruction = command.instruction
            elif isinstance(command, TakeOver) and getattr(self._robot, "leader", None) is not None:
                self.led = True
            elif isinstance(command, GiveBack):
                self.led = False
            else:
                log.warning("%s was ignored: this robot has nothing that a person could lead it with", command)
