"""What people and signals want of a run, from whatever thread, and how the thread that controls the arm hears of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from ..errors import told
from ..robots import STOPPING

log = logging.getLogger(__name__)

#: How many commands may wait to be taken.
WAITING = 64


@dataclass(frozen=True, slots=True)
class Start:
    """Begin the next episode, where one waits for that."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold still until :class:`Resume`; what was still to be played is dropped."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on, with a new observation."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the episode. The next one waits for :class:`Start`."""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the episode, and keep nothing of it. The next one waits for :class:`Start`."""


@dataclass(frozen=True, slots=True)
class Quit:
    """End the run."""


@dataclass(frozen=True, slots=True)
class Instruct:
    """From the next inference on the policy is told ``instruction``."""

    instruction: str


@dataclass(frozen=True, slots=True)
class TakeOver:
    """A person leads the arm from now on, with the robot's leader, until :class:`GiveBack`."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The policy goes on, with a new episode from where the arm is."""


ControlCommand = Start | Hold | Resume | Stop | Reset | Quit | Instruct | TakeOver | GiveBack
#: What ends an episode.
ENDS = (Stop, Reset, Quit)


class Controls:
    """Between those who post, a keyboard, a page, a signal's handler, and the driver, who takes. Thread-safe.

    ``hold``: whether the arm is to hold still, from :class:`Hold` until :class:`Resume`. ``attended``: the
    driver's word that it looks here in each control period; elsewhere it may wait long, for an answer or a connection.
    ``waiting``: its word that the next episode waits for :class:`Start`. ``holds``: changes with every :class:`Hold`,
    so that whoever lets the arm go on can say which one was seen.
    ``refused``: how many commands found no place. ``stops``: seconds from each command that held the arm or ended the
    episode until the robot was told, had come back from it, and what it played had returned; of several at once, from
    the first of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        # No lock, nor anything that has one: a signal's handler interrupts whatever holds it.
        self.hold = False
        self.attended = False
        self.waiting = False
        self.holds = 0
        self.refused = 0
        self.stops: list[float] = []
        self._clock = clock
        self._posted: deque[ControlCommand] = deque()
        self._halts: SimpleQueue[float | None] | None = None

    def post(self, command: ControlCommand) -> None:
        """Hand in a command; returns at once. Where 64 wait already, only what ends an episode finds a place."""
        posted = self._clock()
        if isinstance(command, Hold):
            self.hold = True
            self.holds += 1
        elif isinstance(command, Resume):
            self.hold = False
        else:
            self._append(command)
        # Last: a driver that finds its robot stopped must find why, or it asks for more and plays that.
        if isinstance(command, (Hold, *ENDS)) and (halts := self._halts) is not None:
            halts.put(posted)

    def take(self) -> list[ControlCommand]:
        """What was posted since the last time, in its order, but for Hold and Resume: those are :attr:`hold`."""
        taken: list[ControlCommand] = []
        while self._posted:
            taken.append(self._posted.popleft())
        return taken

    @contextmanager
    def halting(self, halt: Callable[[], None]) -> Generator[None, None, None]:
        """Within, ``halt`` is called at once for what holds the arm or ends the episode, on a thread of its own.

        So whoever posts never waits for a robot, and no handler of a signal runs a robot's code. One driver at a time.
        """
        halts: SimpleQueue[float | None] = SimpleQueue()
        thread = threading.Thread(target=self._halting, args=(halts, halt), name="offboard-halt", daemon=True)
        thread.start()
        self._halts = halts
        try:
            yield
        finally:
            self._halts = None
            halts.put(None)
            thread.join(STOPPING)

    def _append(self, command: ControlCommand) -> None:
        waiting: list[Any] = list(self._posted)
        # Past the last place nothing begins any more, so one end of each kind is all that can matter.
        if len(waiting) < WAITING or (isinstance(command, ENDS) and command not in waiting[WAITING:]):
            self._posted.append(command)
        else:
            self.refused += 1

    def _halting(self, halts: SimpleQueue[float | None], halt: Callable[[], None]) -> None:
        while (posted := halts.get()) is not None:
            # Once for all that was posted before: a robot that is slow to stop would be told for as long as a key was
            # leaned on, and one that was stuck there once more when the run is over.
            while not halts.empty():
                if halts.get() is None:
                    return
            try:
                halt()
            except BaseException as error:  # SystemExit included: it is a robot's code
                log.error("the robot did not stop at once when it was told to: %s", told(error))
            else:
                self.stops.append(self._clock() - posted)
