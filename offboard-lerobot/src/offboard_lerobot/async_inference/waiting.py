"""What a robot of LeRobot's waits for, and what waits for it: its newest observation, and the newest answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from offboard_client.errors import Busy, DialectUnsupported, OffboardError

from .payloads import Instructions

#: Connections that are remembered; and seconds for which one that asks nothing keeps its model, and an answer that
#: nobody fetches is one. LeRobot's client asks for actions all the time.
_MOST, _GONE = 1024, 5.0
#: Seconds in which who drives over a connection shows that it does; and bytes of observations, of all robots together,
#: that are coming, wait for the model, or are before it.
_SHOWS, _MOST_HELD = 1.0, 512 * 2**20
_ANEW = (
    "this connection has not said which model it drives (Ready, SendPolicyInstructions), was silent for too long, or "
    "is another one than before: start the robot's client anew"
)
_SHARED = (
    "a client drives a robot over this connection, and gRPC shares one connection among the channels of a process: end "
    "that client first (stop()), or run this one in a process of its own, or make its channel with the option "
    "('grpc.use_local_subchannel_pool', 1)"
)

Submit = Callable[[bytes, "Robot"], None]


class Held:
    """Bytes of observations, of all robots together."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> None:
        """So many more. Raises Busy if that is too much; they count all the same, until they are given back."""
        self.size += size
        if self.size > _MOST_HELD:
            raise Busy("the server has no room for more observations at this moment; send it again")

    def give_back(self, size: int) -> None:
        """So many fewer."""
        self.size -= size


class Robot:
    """One connection's client, from its instructions on: ``asked``."""

    def __init__(self, asked: Instructions, held: Held) -> None:
        self.asked = asked
        #: Whether an observation of it is coming.
        self.sending = False
        #: Whether its client has begun anew since; whether it asked nothing for so long that its session ended.
        self.over = self.gone = False
        #: Its calls: how many there are, how many there were, and when the last one ended.
        self._open, self._begun, self._ended = 0, 0, 0.0
        self._held = held
        #: Bytes of what the model is asked about; None if it is asked about nothing.
        self._asking: int | None = None
        self._dropped = False
        self._next = b""
        self._answer, self._error, self._came = b"", list[OffboardError](), 0.0
        self._news = asyncio.Event()

    @property
    def owed(self) -> bool:
        """Whether there is an answer that it has not fetched."""
        return self._news.is_set()

    @contextmanager
    def calling(self) -> Generator[Robot]:
        """It drives: it asks, or sends."""
        self._open, self._begun, self.gone = self._open + 1, self._begun + 1, False
        try:
            yield self
        finally:
            self._open, self._ended = self._open - 1, _now()

    async def drives(self) -> bool:
        """Whether somebody drives with it still; seen in a second, in which who does asks again."""
        begun, left = self._begun, _SHOWS if self._open else self._ended + _SHOWS - _now()
        if self.gone or left <= 0:
            return False
        await asyncio.sleep(left)
        return self._open > 0 or self._begun > begun

    def sees(self, frame: bytes, submit: Submit) -> None:
        """An observation has come: it is asked about now, or after the one that is being answered.

        If another one comes meanwhile, that one takes its place. Raises DialectUnsupported if its client has begun anew
        since this began to come: it is none of the new one's.
        """
        if self.over:
            raise DialectUnsupported(_ANEW)
        self._held.size += len(frame)
        if self._asking is None:
            self._ask(frame, submit)
        else:
            self._held.give_back(len(self._next))
            self._next = frame

    def hears(self, answer: bytes | OffboardError, submit: Submit) -> bool:
        """What the model says; nothing new is b"". Whether that is of use to anybody."""
        self._held.give_back(self._asking or 0)
        self._asking, dropped, self._dropped = None, self._dropped, False
        if self.over or dropped:
            return False
        if answer != b"":
            # An error takes nothing away that was answered before it.
            if isinstance(answer, OffboardError):
                self._error = [answer]
            else:
                self._answer, self._error = answer, []
            self._came = _now()
            self._news.set()
        frame, self._next = self._next, b""
        if frame:
            self._ask(frame, submit)
        return True

    def rest(self) -> None:
        """It asks nothing: what it saw last, and what was answered, is of no use any more."""
        self._held.give_back(len(self._next))
        self._next, self._dropped = b"", self._asking is not None
        self._forget_answer()

    async def answered(self, patience: float) -> bytes | OffboardError:
        """The newest answer that it has not heard; b"" if there is none within ``patience`` seconds."""
        if _now() - self._came > _GONE:
            self._forget_answer()  # a robot must not play now what it was to play then
        try:
            await asyncio.wait_for(self._news.wait(), patience)
        except asyncio.TimeoutError:
            return b""
        answer, self._answer = self._answer, b""
        if not answer and self._error:
            return self._heard(self._error.pop())
        return self._heard(answer)

    def _heard(self, answer: bytes | OffboardError) -> bytes | OffboardError:
        if not self._error:
            self._news.clear()
        return answer

    def _forget_answer(self) -> None:
        self._answer, self._error = b"", []
        self._news.clear()

    def _ask(self, frame: bytes, submit: Submit) -> None:
        self._asking = len(frame)
        submit(frame, self)


class Crowd:
    """The robots by connection, and which of them are still there. ``on_gone``: told of one that asks nothing any more.

    A gRPC server is not told when a connection ends. But who has one asks all the time, and what is asked over a
    connection that ends is over with it.
    """

    def __init__(self, silence: float) -> None:
        """``silence``: seconds after which one that asks nothing is forgotten."""
        self._silence = silence
        self.on_gone: Callable[[str], None] = lambda identity: None
        self.held = Held()
        self._robots: dict[str, Robot] = {}
        self._calls: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def free(self, identity: str) -> None:
        """Return when nobody drives over this connection any more. Raises DialectUnsupported if somebody does.

        A client that went, in a process in which another one begins, has left nothing open. One that is there has, or
        asks again at once.
        """
        while (before := self._robots.get(identity)) is not None:
            if await before.drives():
                raise DialectUnsupported(_SHARED)
            if self._robots.get(identity) is before:
                self.leave(identity)

    def begin(self, identity: str, asked: Instructions) -> Robot:
        """A client begins, where there is none. Raises Busy."""
        if len(self._robots) >= _MOST:
            gone = next((other for other, robot in self._robots.items() if robot.gone), None)
            if gone is None:
                raise Busy(f"the server knows {_MOST} robots of LeRobot's already; try again when others have gone")
            self.leave(gone)
        self._robots[identity] = robot = Robot(asked, self.held)
        return robot

    def leave(self, identity: str) -> None:
        """Its client is done, or refused: nothing of it is kept."""
        if (timer := self._timers.pop(identity, None)) is not None:
            timer.cancel()
        if (robot := self._robots.pop(identity, None)) is not None:
            robot.rest()
            robot.over = True
        self.on_gone(identity)

    def of(self, identity: str) -> Robot:
        """Raises DialectUnsupported for one that has not said what it drives."""
        robot = self._robots.get(identity)
        if robot is None:
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
        robot = self._robots[identity]
        robot.gone = True
        robot.rest()
        self.on_gone(identity)
        self._later(max(0.0, self._silence - _GONE), identity, self._forget)

    def _forget(self, identity: str) -> None:
        self._timers.pop(identity, None)
        self._robots.pop(identity, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
