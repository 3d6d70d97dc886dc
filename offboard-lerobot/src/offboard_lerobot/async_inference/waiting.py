"""What a robot of LeRobot's waits for, and what waits for it: its newest observation, and the newest answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from offboard_client.errors import Busy, DialectUnsupported, OffboardError

from .payloads import Instructions

#: Connections that are remembered; and seconds for which one that asks nothing keeps its model. LeRobot's client asks
#: for actions all the time.
_MOST, _GONE = 1024, 5.0
_ANEW = (
    "this connection has not said which model it drives (Ready, SendPolicyInstructions), was silent for too long, or "
    "is another one than before: start the robot's client anew"
)

Submit = Callable[[bytes, "Robot"], None]


class Robot:
    """One connection's client, from its ``Ready`` on. ``asked``: what it asked for, once that is granted."""

    def __init__(self) -> None:
        self.asked: Instructions | None = None
        #: Whether an observation of it is coming.
        self.sending = False
        #: Whether its client has begun anew since.
        self.over = False
        self._asking = False
        self._next: bytes | None = None
        self._answer: bytes | OffboardError = b""
        self._news = asyncio.Event()

    @property
    def owed(self) -> bool:
        """Whether there is an answer that it has not fetched."""
        return self._news.is_set()

    def sees(self, frame: bytes, submit: Submit) -> None:
        """An observation has come: it is asked about now, or after the one that is being answered.

        If another one comes meanwhile, that one takes its place.
        """
        if self._asking:
            self._next = frame
            return
        self._asking = True
        submit(frame, self)

    def hears(self, answer: bytes | OffboardError, submit: Submit) -> None:
        """What the model says; nothing new is b""."""
        if self.over:
            return
        if answer != b"":
            self._answer = answer
            self._news.set()
        frame, self._next, self._asking = self._next, None, False
        if frame is not None:
            self.sees(frame, submit)

    def rest(self) -> None:
        """It is gone: what it saw last is of no use any more."""
        self._next = None

    async def answered(self, patience: float) -> bytes | OffboardError:
        """The newest answer that it has not heard; b"" if there is none within ``patience`` seconds."""
        try:
            await asyncio.wait_for(self._news.wait(), patience)
        except asyncio.TimeoutError:
            return b""
        self._news.clear()
        answer, self._answer = self._answer, b""
        return answer


class Crowd:
    """The robots by connection, and which of them are still there. ``on_gone``: told of one that asks nothing any more.

    A gRPC server is not told when a connection ends. But who has one asks all the time, and what is asked over a
    connection that ends is over with it.
    """

    def __init__(self, silence: float) -> None:
        """``silence``: seconds after which one that asks nothing is forgotten."""
        self._silence = silence
        self.on_gone: Callable[[str], None] = lambda identity: None
        self._robots: dict[str, Robot] = {}
        self._calls: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def begin(self, identity: str) -> Robot:
        """A client begins anew. Raises Busy."""
        if identity not in self._robots and len(self._robots) >= _MOST:
            raise Busy(f"the server knows {_MOST} robots of LeRobot's already; try again when others have gone")
        if (before := self._robots.get(identity)) is not None:
            before.over = True
        self._robots[identity] = robot = Robot()
        return robot

    def of(self, identity: str) -> Robot:
        """Raises DialectUnsupported for one that has not said what it drives."""
        robot = self._robots.get(identity)
        if robot is None or robot.asked is None:
            raise DialectUnsupported(_ANEW)
        return robot

    @contextmanager
    def calling(self, identity: str) -> Generator[None]:
        """It asks something, and waits for the answer."""
        self._calls[identity] = self._calls.get(identity, 0) + 1
        if (timer := self._timers.pop(identity, None)) is not None:
            timer.cancel()
        try:
            yield
        finally:
            self._calls[identity] -= 1
            if not self._calls[identity]:
                del self._calls[identity]
                if identity in self._robots:
                    self._later(_GONE, identity, self._gone)

    async def fetched(self, patience: float) -> None:
        """Return when everybody has fetched what there is for it, or after ``patience`` seconds."""
        left = patience / 0.02
        while left > 0 and any(robot.owed for robot in self._robots.values()):
            left -= 1
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Forget all of them."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._robots.clear()

    def _later(self, seconds: float, identity: str, then: Callable[[str], None]) -> None:
        self._timers[identity] = asyncio.get_running_loop().call_later(seconds, then, identity)

    def _gone(self, identity: str) -> None:
        self._robots[identity].rest()
        self.on_gone(identity)
        self._later(max(0.0, self._silence - _GONE), identity, self._forget)

    def _forget(self, identity: str) -> None:
        self._timers.pop(identity, None)
        self._robots.pop(identity, None)
