"""Who watches a server's exchanges: each on a thread of its own, behind a bounded queue."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from time import monotonic
from typing import Any, cast

from offboard_client.errors import ConfigurationError, OffboardError
from offboard_client.plugins import build

from ..plugins import OBSERVER, Plugins
from ..types import Chunk, Observation

log = logging.getLogger(__name__)

#: Seconds that all observers together get to see what waits, and to close, when the server ends.
CLOSING = 3.0
#: Seconds between two lines of the log that say the same of an observer.
LOG_AGAIN = 30.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExchangeRecord:
    """An observation that was answered. Several observers share it: to be read, never written; arrays are read-only.

    ``session_id``: who knows it can take the session over while its robot is away. ``replica``: which of the model's
    the session is with, from 0. ``number``: of the exchange in its session, from 1. ``arrived``: when the frame came
    (``perf_counter``, s); ``wall_time``: the same moment since 1970.
    ``robot_ms``: from the session's last reply to this moment: the robot's own time and the network's both ways; None
    for its first one. ``timing``: as the reply has it, in ms. ``encode_ms``: how long this reply took to write.
    ``frame_bytes``, ``reply_bytes``: their sizes; of a text in UTF-8.
    ``image_files``: how many of its images came as JPEG or PNG files, of which JPEG has lost detail; None where the
    protocol does not say. ``holder``: who the session is with, for people; ``meta``: its handshake. Both are the
    session's own.
    ``observation``: what the frame said, in canonical names. ``inputs``: what the codec made of it for the model.
    ``chunk``: what the model answered, ``reply_chunk``: what the codec made of that for the robot; both in the shapes
    of :class:`~offboard_core.Chunk`.
    ``error``: its code, if that was the answer. A field is None where it did not come so far, and the four of what was
    said are for an observer that does not want the ``contents``.
    """

    session_id: str
    model_id: str
    replica: int
    number: int
    arrived: float
    wall_time: float
    robot_ms: float | None
    timing: Mapping[str, float]
    encode_ms: float | None
    frame_bytes: int | None
    reply_bytes: int | None
    observation: Observation | None
    inputs: Mapping[str, Any] | None
    chunk: Chunk | None
    reply_chunk: Chunk | None
    error: str | None
    image_files: int | None = None
    holder: str | None = None
    meta: Mapping[str, Any] | None = None


class Observer(abc.ABC):
    """Watches the exchanges of a server, from a thread of its own: who is slow, hangs or raises costs nobody an answer.

    It costs the server all the same what Python threads cost each other. What computes for long belongs in a process.
    """

    #: Whether it reads what was said: the observation, the inputs and the chunks. Copying them takes time.
    contents: bool = True
    #: How many records may wait for it. What comes then is dropped and counted.
    waiting: int = 64
    #: How many bytes the contents of those may hold, with the one that it is told of. A larger record comes alone.
    waiting_bytes: int = 256 * 2**20

    @abc.abstractmethod
    def exchanged(self, record: ExchangeRecord) -> None:
        """An observation was answered, by a chunk, nothing new or an error; told after the answer went out.

        One call at a time, in the order of the answers. What it raises is logged and counted.
        """

    def ended(self, session_id: str) -> None:
        """A session of which it was told something is over; nothing more of it follows."""

    def close(self) -> None:
        """The server ends; nothing follows."""


class Bounded:
    """An observer with its queue and its thread. ``seen``, ``dropped`` and ``failed`` count records.

    All but what runs on its thread are for one thread, the event loop's.
    """

    def __init__(self, name: str, observer: Observer) -> None:
        self.name = name
        self.contents = observer.contents
        self.seen = self.dropped = self.failed = 0
        self._observer, self._most, self._most_bytes = observer, observer.waiting, observer.waiting_bytes
        self._queue: SimpleQueue[tuple[ExchangeRecord, int] | str | None] = SimpleQueue()
        #: Records that were ever queued, and taken; each is counted on one thread.
        self._came = self._taken = 0
        #: Sessions of which it was told, and whose end it is to be told.
        self._open: set[str] = set()
        #: Bytes that were ever queued, and let go of; each is counted on one thread.
        self._queued = self._let_go = 0
        self._left = False
        self._dropped_told = self._failed_told = -LOG_AGAIN
        self._thread = threading.Thread(target=self._run, name=f"offboard-observer-{name}", daemon=True)
        self._ended: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def offer(self, record: ExchangeRecord, held: int) -> None:
        """Queue it, whose contents hold so many bytes, unless too many wait."""
        waiting = self._queued - self._let_go
        if self._came - self._taken < self._most and (not waiting or waiting + held <= self._most_bytes):
            self._queued += held
            self._came += 1
            self._open.add(record.session_id)
            self._queue.put((record, held))
            return
        self.dropped += 1
        if (now := monotonic()) - self._dropped_told >= LOG_AGAIN:
            self._dropped_told = now
            log.warning(
                "the observer %s is slower than what it watches; exchanges dropped so far: %d", self.name, self.dropped
            )

    def tell_end(self, session_id: str) -> None:
        """Queue the end of a session, if it was told of that session: so no more of these wait than records do."""
        if session_id in self._open:
            self._open.remove(session_id)
            self._queue.put(session_id)

    def end(self) -> asyncio.Future[None]:
        """Ask it to close after what waits; done when it has."""
        loop = asyncio.get_running_loop()
        self._ended = loop, loop.create_future()
        self._queue.put(None)
        return self._ended[1]

    def leave(self) -> None:
        """Do not wait for it any more. What waits is dropped."""
        if self._ended is not None and not self._ended[1].done():
            self._left = True
            self.dropped += self._came - self._taken
            log.error("the observer %s has not ended within %g s and is left behind", self.name, CLOSING)

    # -- on its thread -----------------------------------------------------------------------------------------------
    def _run(self) -> None:
        while (waited := self._queue.get()) is not None and not self._left:
            if isinstance(waited, str):
                try:
                    self._observer.ended(waited)
                except BaseException:
                    log.exception("the observer %s failed at the end of a session", self.name)
                continue
            record, held = waited
            self._taken += 1
            try:
                self._observer.exchanged(record)
            # SystemExit included: it is a plugin's code.
            except BaseException as error:
                self._fail(error)
            else:
                self.seen += 1
            del waited, record
            self._let_go += held
        try:
            self._observer.close()
        except BaseException:
            log.exception("the observer %s could not be closed", self.name)
        if self._ended is not None:
            loop, ended = self._ended
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(lambda: ended.done() or ended.set_result(None))

    def _fail(self, error: BaseException) -> None:
        self.failed += 1
        if (now := monotonic()) - self._failed_told >= LOG_AGAIN:
            self._failed_told = now
            log.error("the observer %s failed; exchanges so far: %d", self.name, self.failed, exc_info=error)


class Observers:
    """All observers of one server, by name. It begins and ends once."""

    def __init__(self, observers: Mapping[str, Observer] | None = None) -> None:
        """Raises ConfigurationError for what is no observer, or one without a place in its queue."""
        observers = observers or {}
        for name, one in observers.items():
            if not isinstance(cast("object", one), Observer):
                raise ConfigurationError(f"the observer {name} is a {type(one).__name__}, which is no Observer")
            check_room(name, one)
        self.contents = any(one.contents for one in observers.values())
        self._bare = not all(one.contents for one in observers.values())
        self._bounded = [Bounded(name, one) for name, one in observers.items()]
        self._begun = self._closed = False

    def __bool__(self) -> bool:
        return bool(self._bounded)

    def start(self) -> None:
        """Begin to watch."""
        self._begun = True
        for one in self._bounded:
            one.start()

    def offer(self, record: ExchangeRecord, held: int) -> None:
        """Tell all of them, as soon as each can. ``held``: bytes that its contents hold."""
        # Who lets much wait must not keep what it does not even want.
        bare = record
        if self._bare and held:
            bare = replace(record, observation=None, inputs=None, chunk=None, reply_chunk=None)
        for one in self._bounded:
            if one.contents:
                one.offer(record, held)
            else:
                one.offer(bare, 0)

    def ended(self, session_id: str) -> None:
        """A session is over. Not before what is just being delivered of it was told."""
        for one in self._bounded:
            one.tell_end(session_id)

    def counts(self) -> dict[str, dict[str, int]]:
        """What became of the records, by observer: ``seen``, ``dropped``, ``failed``."""
        return {one.name: {"seen": one.seen, "dropped": one.dropped, "failed": one.failed} for one in self._bounded}

    async def close(self) -> None:
        """Let them see what waits and close, for :data:`CLOSING` seconds at most. May be repeated."""
        if self._closed or not self._bounded:
            return
        self._closed = True
        if not self._begun:
            self.start()
        await asyncio.sleep(0)  # for the ends of the sessions that were closed just now
        try:
            await asyncio.wait([one.end() for one in self._bounded], timeout=CLOSING)
        finally:
            for one in self._bounded:
                one.leave()


def check_room(name: str, observer: Observer) -> None:
    """Raises ConfigurationError for one that leaves no room for what waits."""
    for what in ("waiting", "waiting_bytes"):
        if type(most := getattr(observer, what)) is not int or most < 1:
            raise ConfigurationError(
                f"{what} of the observer {name} is {most!r:.40}; expected a whole number from 1 up"
            )


def name_observers(observers: Sequence[Observer]) -> dict[str, Observer]:
    """Observers by their classes' names, with a number from the second of a class on."""
    found: dict[str, Observer] = {}
    for one in observers:
        name = type(one).__name__
        same = sum(type(other).__name__ == name for other in found.values())
        found[f"{name}-{same + 1}" if same else name] = one
    return found


def make_observers(plugins: Plugins, asked: Mapping[str, Mapping[str, Any]]) -> dict[str, Observer]:
    """Observers that the plugins offer, by full name. ``asked``: the name of each → its options.

    Raises ConfigurationError for a name that none has, or one that cannot be made; then nothing of them is left open.
    """
    made: dict[str, Observer] = {}
    try:
        for name, given in asked.items():
            offer = plugins.get(OBSERVER, name)
            if offer.name in made:
                raise ConfigurationError(f"the observer {offer.name} is asked for twice")
            options = build(offer.options(), given, f"the observer {offer.name}", ConfigurationError)
            made[offer.name] = offer.make(options)
            check_room(offer.name, made[offer.name])
    except OffboardError:
        for one in made.values():
            one.close()
        raise
    return made
