"""What an exchange leaves for observers: nothing, unless there are any."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from offboard_client.errors import OffboardError

from ..types import Chunk, Observation
from .observers import ExchangeRecord, Observers

if TYPE_CHECKING:
    from .exchange import Exchange
    from .pipeline import Result

log = logging.getLogger(__name__)
T = TypeVar("T")

#: What is its own copy, and most of what there is.
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})


class Kept:
    """What one exchange was so far. It stays as it is, whatever the next inference writes into the same memory.

    ``held``: bytes that its contents hold. Its methods are called by whoever translates at that moment, and never
    raise.
    """

    __slots__ = (
        "_owners", "chunk", "contents", "encode_ms", "frame_bytes", "held", "image_files", "inputs", "observation",
        "reply_bytes", "reply_chunk",
    )  # fmt: skip

    def __init__(self, frame: Any, contents: bool) -> None:
        self.contents = contents
        self.held = 0
        self._owners: set[int] = set()
        self.frame_bytes = size(frame)
        self.reply_bytes: int | None = None
        self.encode_ms: float | None = None
        self.image_files: int | None = None
        self.observation: Observation | None = None
        self.inputs: Mapping[str, Any] | None = None
        self.chunk: Chunk | None = None
        self.reply_chunk: Chunk | None = None

    def asked(self, observation: Observation, inputs: Mapping[str, Any], image_files: int | None = None) -> None:
        """The frame was read and translated; either is empty if it did not come so far.

        ``image_files``: how many of its images came as files, where the protocol says.
        """
        self.image_files = image_files
        if self.contents:
            self.observation, self.inputs = self._lasting(observation or None), self._lasting(inputs or None)

    def answered(self, result: Result) -> None:
        """By the model. Before the codec has it, which may write into it."""
        if self.contents and isinstance(result, Chunk):
            self.chunk = self._lasting(result)

    def replied(self, result: Result, reply: Any, encode_ms: float) -> None:
        """The frame that answers is written, and says ``result``."""
        self.reply_bytes, self.encode_ms = size(reply), encode_ms
        if self.contents and isinstance(result, Chunk):
            self.reply_chunk = self._lasting(result)

    def _lasting(self, value: T) -> T | None:
        """A copy that nobody else writes into; None, with a line in the log, where there is no memory for it."""
        try:
            return cast("T", self._copied(value))
        except Exception:
            log.exception("what observers want of an exchange could not be kept")
            return None

    def _copied(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            self.held += sys.getsizeof(value)
            return value
        if isinstance(value, np.ndarray):
            return self._copied_array(cast("np.ndarray[Any, Any]", value))
        if isinstance(value, Chunk):
            return Chunk(self._copied(value.action), self._copied(value.timestamp))
        if isinstance(value, Mapping):
            copy: Any = {name: self._copied(item) for name, item in cast("Mapping[Any, Any]", value).items()}
            self.held += sum(map(sys.getsizeof, copy))
        elif isinstance(value, list):
            copy = [self._copied(item) for item in cast("list[Any]", value)]
        elif isinstance(value, tuple):
            copy = tuple(map(self._copied, cast("tuple[Any, ...]", value)))
        else:
            copy = bytes(cast("bytes", value)) if isinstance(value, (bytearray, memoryview)) else value
        self.held += sys.getsizeof(copy)
        return copy

    def _copied_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        owner: Any = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, bytes):  # of a frame: nobody can write into those
            if id(owner) not in self._owners:
                self._owners.add(id(owner))
                self.held += len(owner)
            return array
        own = array.copy()
        own.flags.writeable = False
        self.held += own.nbytes
        return own


class SessionRecords:
    """One session, as observers see it, and who looks at it.

    ``looked``: whether somebody does. ``last``: what was answered last since then, with its contents.
    """

    __slots__ = (
        "_holder", "_meta", "_model_id", "_number", "_observers", "_replica", "_replied", "_session_id", "last",
        "looked",
    )  # fmt: skip

    def __init__(
        self, observers: Observers, session_id: str, model_id: str, replica: int, holder: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._observers, self._session_id, self._model_id, self._replica = observers, session_id, model_id, replica
        self._holder, self._meta = holder, meta
        self._replied: float | None = None
        self._number = 0
        self.looked, self.last = False, cast("ExchangeRecord | None", None)

    def keep(self, frame: Any) -> Kept:
        """For an exchange that is about to be read."""
        return Kept(frame, self._observers.contents or self.looked)

    @property
    def observed(self) -> bool:
        """Whether there are observers, too."""
        return bool(self._observers)

    def look(self, answered: int) -> None:
        """Keep what is answered from now on. ``answered``: how many exchanges there were before."""
        if not self.looked and not self._observers:  # nothing was told of what came before
            self._number, self._replied = answered, None
        self.looked = True

    def look_away(self) -> None:
        """Nobody looks any more."""
        self.looked, self.last = False, None

    def delivered(self, exchange: Exchange, reply: Any, error: OffboardError | None) -> None:
        """Tell the observers of it; on the event loop."""
        now, last, arrived = perf_counter(), self._replied, exchange.arrived
        kept = exchange.kept or Kept(None, False)
        self._replied, self._number = now, self._number + 1
        record = ExchangeRecord(
            session_id=self._session_id,
            model_id=self._model_id,
            replica=self._replica,
            number=self._number,
            arrived=arrived,
            wall_time=time() - (now - arrived),
            robot_ms=None if last is None else max(0.0, (arrived - last) * 1e3),
            timing=exchange.timing,
            encode_ms=kept.encode_ms,
            frame_bytes=kept.frame_bytes,
            reply_bytes=size(reply) if kept.reply_bytes is None else kept.reply_bytes,
            observation=kept.observation,
            inputs=kept.inputs,
            chunk=kept.chunk,
            reply_chunk=kept.reply_chunk,
            image_files=kept.image_files,
            error=None if error is None else error.code,
            holder=self._holder,
            meta=self._meta,
        )
        if self.looked and kept.contents:
            self.last = record
        self._observers.offer(record, kept.held)


def size(frame: Any) -> int | None:
    """Bytes on the wire; None for what is no frame."""
    if isinstance(frame, str):
        return len(frame) if frame.isascii() else len(frame.encode("utf-8", "surrogatepass"))
    if isinstance(frame, (bytes, bytearray)):
        return len(frame)
    return frame.nbytes if isinstance(frame, memoryview) else None
