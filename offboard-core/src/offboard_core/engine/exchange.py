"""One exchange: an observation, its translation, the inference, and the reply."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from threading import Lock
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from offboard_client.errors import DeadlineExceeded, Internal, InvalidAction, OffboardError, PolicyFailed, told
from offboard_client.wire import DEADLINE_MS, SEQ

from ..types import NO_CONTEXT, Chunk, Item, Observation, Session
from .checks import MAX_STEPS, check_action, check_length, check_numbers, check_observation
from .pipeline import Deliver, Pipeline, Result
from .records import Kept, SessionRecords

if TYPE_CHECKING:
    from .loans import Lend, Loan

log = logging.getLogger(__name__)

_NOTHING: Mapping[str, Any] = MappingProxyType({})
#: Types of what a policy may be given as it is, asked for before :func:`_own`: of nearly all that there is.
_FLAT: frozenset[type] = frozenset((np.ndarray, str, float, int, bool, type(None)))


class Exchange:
    """One frame in, exactly one frame out.

    ``arrived``: when the frame came (``perf_counter``), if it had to wait before it could be submitted.
    :meth:`prepare` and :meth:`finish` are the translations before and after the model; any thread may run
    them, one after the other. ``deliver(reply, error)`` is called on the event loop once the reply is there.
    """

    # As it is until something else is known, of the class: of an exchange's facts most are written once or never.
    deadline: float | None = None
    observation: Observation = _NOTHING
    inputs: Mapping[str, Any] = _NOTHING
    context = NO_CONTEXT
    key: Hashable = None
    error: OffboardError | None = None
    kept: Kept | None = None
    lend: Lend | None = None
    loan: Loan | None = None
    timing: Mapping[str, float] = _NOTHING
    warnings: list[str] | None = None
    reply: Any = None
    prepared = abandoned = False
    decode_ms = codec_ms = prepare_ms = queue_ms = infer_ms = started = 0.0
    batch = 1

    def __init__(self, pipeline: Pipeline, frame: Any, deliver: Deliver, arrived: float | None = None) -> None:
        self.pipeline = pipeline
        self._serializer = pipeline.serializer
        self._translating = Lock()
        self.frame = frame
        self.deliver = deliver
        self.submitted = perf_counter()
        self.arrived = self.submitted if arrived is None else arrived

    def begins(self) -> bool:
        """Whether it may be translated; not while a former one of its session, given up since, is still under way.

        So a session whose codec does not return holds one thread, not one more with each observation.
        """
        if self.pipeline.translating.locked():
            return False
        self.pipeline.translating = self._translating
        return True

    def prepare(self, *, at_once: bool = False) -> bool:
        """Frame → observation → model input. False if it was given up, or failed: then :attr:`error` says why.

        ``at_once``: only if that is done in no time; where it is not, nothing is done, and it is not :attr:`prepared`.
        """
        with self._translating:
            if not self.prepared and not self.abandoned:
                self._prepare(at_once)
            return self.prepared and self.error is None and not self.abandoned

    def _prepare(self, at_once: bool) -> None:
        start, pipeline, seen = perf_counter(), self.pipeline, _NOTHING
        records, reader, codec = pipeline.records, pipeline.context, pipeline.codec
        found = None
        if at_once and (found := self._at_once(records)) is None:
            return
        if records is not None:
            self.kept = records.keep(self.frame)
        try:
            seen, self.warnings = found or self._serializer.read(self.frame)
            self.observation, self.frame = seen, None
            read = perf_counter()
            self.decode_ms = (read - start) * 1e3
            limit = seen.get(DEADLINE_MS)
            if limit is not None:
                self.deadline = self.arrived + float(limit) / 1e3
            form = getattr(self._serializer, "form", None)
            floats = pipeline.right.get(form)
            if floats is None:
                observation, brought = reader.split(seen)
                self.observation = observation
                floats = check_observation(observation, codec.meta)
                if form is not None and floats is not None and observation is seen:  # nothing was taken out of it
                    pipeline.is_right(form, floats)
            else:
                observation, brought = seen, _NOTHING
                check_numbers(observation, floats)
            self.inputs = self._encode(observation)
            if brought:
                self.context = reader.tell(brought, observation, codec, self._encode)
            if reader.remembers:
                self.context = reader.recall(self.context, observation, self.inputs, codec, self.arrived)
                self.warnings += reader.warnings()
            self.codec_ms = (perf_counter() - read) * 1e3
        except OffboardError as error:
            self.error = error
        # SystemExit included, as for a policy: it is a plugin's code, too.
        except BaseException as error:
            log.exception("the codec %s failed on an observation", codec.name)
            self.error = Internal(f"the codec {codec.name} failed: {told(error)}")
        self.prepared = True
        if self.kept is not None:
            self.kept.asked(seen, self.inputs, getattr(self._serializer, "image_files", None) if seen else None)
        self.prepare_ms = (perf_counter() - start) * 1e3

    def _at_once(self, records: SessionRecords | None) -> tuple[Observation, list[str]] | None:
        """What was read; None where that, or what follows, would take time."""
        read = getattr(self._serializer, "read_at_once", None)
        if read is None or records is not None:  # who looks on gets copies
            return None
        try:
            return read(self.frame)
        except BaseException:  # it is raised again where it is answered
            return None

    def _encode(self, observation: Observation) -> Mapping[str, Any]:
        inputs = dict(self.pipeline.codec.codec.encode(observation))
        # The number belongs to the protocol: a model that takes every name would take it for a part of the state.
        inputs.pop(SEQ, None)
        if _FLAT.issuperset(map(type, inputs.values())):
            return inputs
        return {name: _own(value) for name, value in inputs.items()}

    def item(self) -> Item[Session]:
        """What the policy is asked; for an exchange that is prepared."""
        return Item(self.pipeline.session, self.inputs, self.context)

    def late(self) -> bool:
        """Has the observation's own deadline passed? Sets the error if so."""
        if self.deadline is None or perf_counter() <= self.deadline:
            return False
        waited = (perf_counter() - self.arrived) * 1e3
        self.error = DeadlineExceeded(
            f"the observation waited {waited:.0f} ms for the model, longer than its offboard.deadline_ms; "
            "send a fresh one, or allow more time"
        )
        return True

    def finish(self, result: Result) -> None:
        """The model's result → the frame that answers; nothing if it was given up. Never raises."""
        with self._translating:
            if not self.abandoned:
                self._finish(result)

    def _finish(self, result: Result) -> None:
        pipeline, kept, start = self.pipeline, self.kept, perf_counter()
        codec, warnings = pipeline.codec, self.warnings or []
        try:
            if kept is not None:
                kept.answered(result)
            if not isinstance(result, Chunk):
                pass
            elif steps := len(result):
                if steps > MAX_STEPS:
                    check_length(result)
                result = codec.codec.decode(result, self.observation)
                pipeline.right_action = check_action(result, codec.meta, pipeline.right_action)
            else:
                result = result.head(0)
        except OffboardError as error:
            result = error
        except BaseException as error:
            log.exception("the codec %s failed on an action chunk", codec.name)
            result = PolicyFailed(f"the codec {codec.name} failed: {told(error)}")
        decoded = perf_counter()
        self.codec_ms += (decoded - start) * 1e3
        timing = self.timing = self._timing(decoded)
        try:
            self.reply = self._serializer.write(result, timing, self.observation, warnings)
        except BaseException as error:
            if not isinstance(error, OffboardError):
                log.exception("a reply of %s could not be written", codec.name)
                error = InvalidAction(f"the action has no form in the reply: {told(error)}")
            result = error
            self.reply = self._refusal(error, timing)
        self.error = result if isinstance(result, OffboardError) else None
        pipeline.last_encode_ms = (perf_counter() - decoded) * 1e3
        if not self.abandoned:  # what was given up meanwhile was counted then
            pipeline.stats.record(timing, self.error)
        if kept is not None:
            kept.replied(result, self.reply, pipeline.last_encode_ms)
        self.observation = self.inputs = _NOTHING

    def give_up(self, error: OffboardError) -> Any:
        """Let go of it: the frame that says ``error``, None where there is none. No serializer is used for it any more.

        There is none for what was never read: a serializer answers observations. Nor for what has its answer, which is
        not told yet: its observation is gone, and with it its number.
        """
        timing = self.timing = self._timing(perf_counter())
        self.pipeline.stats.record(timing, error)
        self.abandoned = True
        if not self._translating.acquire(blocking=False):
            # It is being read or written at this moment. Whoever comes next must not be on the same serializer.
            self.pipeline.renew_serializer()
            return None
        try:
            return self._refusal(error, timing) if self.prepared and self.reply is None else None
        finally:
            self._translating.release()

    def _refusal(self, error: OffboardError, timing: dict[str, float]) -> Any:
        try:
            return self._serializer.write(error, timing, self.observation, self.warnings or [])
        except BaseException:
            log.exception("a reply of %s could not be written, nor the error about it", self.pipeline.codec.name)
            return None

    def _timing(self, now: float) -> dict[str, float]:
        return {
            "decode_ms": self.decode_ms,
            "codec_ms": self.codec_ms,
            "queue_ms": self.queue_ms,
            "infer_ms": self.infer_ms,
            "total_ms": (now - self.arrived) * 1e3,
            "prev_encode_ms": self.pipeline.last_encode_ms,
            "batch": self.batch,
        }


def _own(value: Any) -> Any:
    """Lists and maps made anew, for a policy may write into them and the codec reads its own again; arrays as they are.

    Nobody can write into those.
    """
    if isinstance(value, list):
        return [_own(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _own(item) for name, item in cast("dict[Any, Any]", value).items()}
    return value
