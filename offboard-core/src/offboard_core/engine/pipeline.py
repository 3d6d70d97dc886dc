"""What the exchanges of one session have in common."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Protocol

from offboard_client.errors import OffboardError

from ..catalog import ResolvedCodec
from ..types import Chunk, Observation, Session
from .context import ContextReader
from .records import SessionRecords
from .stats import SessionStats

#: What the model answered, or why it could not: a chunk, None for "nothing new", or an error.
Result = Chunk | None | OffboardError

#: Forms of one session's observations that are remembered.
_FORMS = 8

#: Called on the event loop with the frame that answers, and the error it tells of, if any. The frame is None where the
#: serializer could not make one: then the error is all that there is to tell.
Deliver = Callable[[Any, "OffboardError | None"], None]


class Serializer(Protocol):
    """A frontend's two translations. Both run off the event loop, on whichever thread is free.

    One may have :attr:`form`: of the observation that was read last the same object as of all with the same names,
    shapes, dtypes and texts, so that no two of them differ in anything but numbers; None where it cannot say.
    """

    def read(self, frame: Any) -> tuple[Observation, list[str]]:
        """A frame as an observation in canonical names, with warnings for the robot's operator."""
        ...

    def write(self, result: Result, timing: dict[str, float], observation: Observation, warnings: list[str]) -> Any:
        """The frame that answers. Raises an OffboardError if this serializer has no form for the result."""
        ...


class Pipeline:
    """What the exchanges of one session share: its episode on the model, its codec, its serializer and its counters.

    ``alone``: the session took part in a call that failed as a whole, and shares none until it has been answered.
    ``translating``: held while what began last is translated; see :meth:`Exchange.begins`. ``watch``: observers see it.
    """

    __slots__ = (
        "_make_serializer", "alone", "codec", "context", "last_encode_ms", "records", "right", "right_action",
        "serializer", "session", "stats", "translating",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        codec: ResolvedCodec,
        make_serializer: Callable[[], Serializer],
        stats: SessionStats,
        context: ContextReader,
    ) -> None:
        self.session = session
        self.codec = codec
        self.context = context
        self.stats = stats
        self.last_encode_ms = 0.0
        self.alone = False
        self.translating = Lock()
        self.records: SessionRecords | None = None
        #: Forms of observations (:attr:`Serializer.form`) that were right, and of which names the numbers count. They
        #: bring nothing for the inference. What a session may change of its codec is nothing of the codec's meta.
        self.right: dict[object, list[str]] = {}
        #: The form of the last action that was right, where that says all but whether it is finite.
        self.right_action: object = None
        self.renew_serializer(make_serializer)

    def is_right(self, form: object, floats: list[str]) -> None:
        """An observation of this form was found right, whatever the numbers under other names than these are."""
        if len(self.right) >= _FORMS:
            self.right.clear()
        self.right[form] = floats

    def renew_serializer(self, make_serializer: Callable[[], Serializer] | None = None) -> None:
        """From now on exchanges use a serializer of their own; those under way keep theirs."""
        self._make_serializer = make_serializer or self._make_serializer
        self.serializer = self._make_serializer()
