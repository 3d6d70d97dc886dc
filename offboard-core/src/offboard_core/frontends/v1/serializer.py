"""Protocol v1's two translations: a frame → an observation, a result → a frame. Runs off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from offboard_client import wire
from offboard_client.errors import BadMessage, OffboardError
from offboard_client.wire import DEADLINE_MS, SEQ, canonical, error_frame, refuse_forms

from ... import frontends
from ...catalog import ResolvedCodec
from ...engine import Result
from ...types import Chunk, Observation
from .. import both_ends, find_seq, unpack_values
from . import replies
from .template import Template

Dialect = Literal["offboard", "positronic"]
Layout = Literal["rows", "columns"]

#: What may be read on the event loop: so much takes as long as taking it out of the socket did.
AT_ONCE = wire.WireLimits(message_bytes=4 * 2**20, elements=1024, list_length=256, map_keys=256)


class V1Serializer:
    """One session's translations. ``dialect`` None: the first observation decides, once."""

    def __init__(self, codec: ResolvedCodec, dialect: Dialect | None, layout: Layout) -> None:
        self._declared = codec.meta.observation
        self._dialect = dialect
        self._layout = layout
        self._text = False
        self._first = True
        self._layouts = wire.Layouts()
        self._encoder = wire.Encoder()
        #: None where replies are no columns.
        self._template = Template() if layout == "columns" and dialect == "offboard" else None
        self._refused_seq: int | None = None
        #: As of a Serializer; and the last one whose reserved names hold what they must, whatever their numbers.
        self.form: object = None
        self._reserved: object = None
        #: How many images of the last observation came as files.
        self.image_files = 0

    def read(self, frame: bytes | str) -> tuple[Observation, list[str]]:
        """A frame as an observation in canonical names. Raises BadMessage or BadObservation."""
        return self._read(frame, wire.DEFAULT_LIMITS, wire.ImageBudget)

    def read_at_once(self, frame: bytes | str) -> tuple[Observation, list[str]] | None:
        """As :meth:`read`, for those who must not wait; None where that takes time, or fails: then it is to be read.

        Texts take time, and so do images that are files, long lists, and what is large.
        """
        if isinstance(frame, str):
            return None
        try:
            return self._read(frame, AT_ONCE, wire.NoImages)
        except (wire.TakesTime, OffboardError):
            return None

    def _read(
        self, frame: bytes | str, limits: wire.WireLimits, budgeted: Callable[[], wire.ImageBudget]
    ) -> tuple[Observation, list[str]]:
        if not isinstance(frame, str) and len(frame) <= limits.message_bytes:
            observation = self._layouts.read(frame)
            if observation is not None:
                form = self._layouts.form
                if form is self._reserved or _reserved_are_right(observation):
                    self.form = form
                    if DEADLINE_MS not in observation:
                        self._reserved = form
                    self._text, self.image_files = False, 0
                    return observation, []
        self.form = None
        self._text = isinstance(frame, str)
        raw, budget = cast("dict[str, Any]", {}), budgeted()
        try:
            found = wire.decode_text(frame) if isinstance(frame, str) else wire.decode(frame, limits, budget)
            if not isinstance(found, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", found)):
                raise BadMessage("an observation is a map from names to values; names are strings")
            raw = cast("dict[str, Any]", found)
            if "type" in raw:
                raise BadMessage("an observation has no name 'type'; control frames are shorter than 512 bytes")
            if self._dialect is None:
                self._dialect = "positronic" if frontends.is_positronic(raw) else "offboard"
            observation = canonical(raw, self._declared)
            frontends.check_reserved(observation)
            refuse_forms(observation)
            unpack_values(observation, self._declared, self._text, budget)
            self.image_files = budget.files
        except OffboardError:
            # There is no observation to take the number from, and its refusal is to carry it.
            self._refused_seq = seq if type(seq := raw.get(SEQ)) is int else find_seq(both_ends(frame))
            raise
        if not isinstance(frame, str):
            self._layouts.learn(frame, observation)
        if not self._first:
            return observation, []
        warnings = frontends.warnings(raw, observation, self._declared)
        self._first = False
        return observation, warnings

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> bytes | str:
        """The reply to an observation. Raises DialectUnsupported if this dialect has no form for the result."""
        seq, self._refused_seq = observation.get(SEQ, self._refused_seq), None
        template = self._template
        if template is not None and type(result) is Chunk and seq is not None and not (self._text or warnings):
            written = template.filled(result, timing, seq)
            if written is not None:
                return written
        if isinstance(result, OffboardError):
            reply: dict[str, Any] = error_frame(result)
        elif result is None:
            reply = {"result": None}
        elif self._dialect == "positronic":
            reply = {"result": replies.as_positronic(result)}
        elif self._layout == "columns":
            reply = {"result": replies.as_columns(result)}
        else:
            reply = {"result": replies.as_rows(result)}
        reply["timing"] = timing
        if warnings:
            reply["warnings"] = warnings
        if seq is not None:
            reply[SEQ] = seq
        # Memory for it is kept: to take it anew for each costs the allocator more than writing it.
        return wire.encode_text(reply) if self._text else self._encoder.whole(reply)


def _reserved_are_right(observation: Observation) -> bool:
    try:
        frontends.check_reserved(observation)
    except OffboardError:  # it is told where its frame is read as any other
        return False
    return True


def encode(value: Any, text: bool) -> bytes | str:
    """A value as a text or a binary frame."""
    return wire.encode_text(value) if text else wire.encode(value)
