"""openpi's protocol on offboard's port: a robot that runs ``openpi-client`` drives any model served here.

Metadata first, then one observation, one reply. A reply that is text is an error, which openpi's client raises; unlike
openpi's own server this one says what is wrong without a traceback, and goes on with the session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl

import numpy as np
from offboard_client.errors import BadMessage, BadParameter, DialectUnsupported, OffboardError
from offboard_client.wire import canonical, decode, encode, read_forms
from offboard_core.frontends import (
    JOINED,
    Frame,
    Frontend,
    FrontendConnection,
    ResolvedCodec,
    Result,
    Scope,
    Serializer,
    ServiceSession,
    check_reserved,
    read_control,
)
from offboard_core.types import Observation

from .bridge import bridge
from .keysets import KEYSETS, OpenPIKeys
from .lengths import Lengths
from .options import OpenPIFrontendOptions

#: What the handshake of Protocol v1 says for other clients, and what is said otherwise here.
_NOT_SAID = {
    "local_stack",
    "positronic_version",
    "compress_images",
    "image_formats",
    "openpi_metadata",
    "controls",
    "shortest_chunk",
}


class OpenPIFrontend(Frontend):
    """``?model=ID`` chooses a model; every other name of the query is a parameter of the session."""

    def __init__(self, options: OpenPIFrontendOptions) -> None:
        self._options = options
        self._keys = None if options.codec is None else KEYSETS[options.codec]

    def connect(self, scope: Scope) -> OpenPIConnection:
        """Raises BadParameter for a model that is given twice."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        models = [value for name, value in query if name == "model"]
        if len(models) > 1:
            raise BadParameter("name one model in the URL: it was given twice")
        params = [pair for pair in query if pair[0] != "model"]
        return OpenPIConnection(self._keys, self._options, next(iter(models), None), params)


class OpenPIConnection(FrontendConnection):
    """One socket's. While the model loads it says nothing: openpi's client takes the first frame for the metadata.

    A refusal is the reason of the close frame for the same cause: the client would try to unpack a text.
    """

    def __init__(
        self,
        keys: OpenPIKeys | None,
        options: OpenPIFrontendOptions,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
    ) -> None:
        self.model_id = model_id
        self.params = params
        self._keys = keys
        self._options = options

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`~.bridge.bridge`."""
        bridged, self._layout, stay = bridge(self._keys, codec)
        self._lengths = Lengths(self._options, stay)
        return bridged

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """openpi's encoding."""
        return OpenPISerializer(codec, self._lengths)

    def ready(self, session: ServiceSession) -> Frame:
        """What openpi's own server says of this model, if it is openpi's, and what Protocol v1's handshake says.

        ``action_layout``: name and width of each part of ``actions``, in order. ``chunk_length``: how many steps every
        answer has at least. Raises DialectUnsupported where that cannot be promised.
        """
        meta = session.meta
        own = {name: value for name, value in meta.items() if name not in _NOT_SAID} | self._lengths.promise(meta)
        layout = [list(column) for column in self._layout]
        return encode({**meta.get("openpi_metadata", {}), **own, "action_layout": layout})

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """A text."""
        return _say(error)

    def is_control(self, frame: Frame) -> bool:
        """Whether it is the reset of RoboArena's and vLLM-Omni's clients; openpi's own has none."""
        if isinstance(frame, str) or b"endpoint" not in frame:
            return False
        return (read_control(frame) or {}).get("endpoint") == "reset"

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """A new episode."""
        await session.reset()
        return encode({"status": "reset successful"})


class OpenPISerializer:
    """One session's translations. ``lengths``: what was promised of the answers."""

    def __init__(self, codec: ResolvedCodec, lengths: Lengths) -> None:
        self._declared = codec.meta.observation
        self._lengths = lengths
        self._total_ms: float | None = None

    def read(self, frame: Frame) -> tuple[Observation, list[str]]:
        """A frame as an observation. Raises BadMessage or BadObservation."""
        if isinstance(frame, str):
            raise BadMessage("a text frame; openpi's protocol sends observations as msgpack in binary frames")
        found = read_forms(decode(frame))
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", found)):
            raise BadMessage("an observation is a map from names to values; names are strings")
        raw = cast("dict[str, Any]", found)
        raw.pop("endpoint", None)  # "infer", from clients that also know a reset
        observation = canonical(raw, self._declared)
        check_reserved(observation)
        return {name: _as_array(value) for name, value in observation.items()}, []

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> Frame:
        """``actions`` (T, D) and the timings openpi's clients log. Raises DialectUnsupported for too few actions."""
        before, self._total_ms = self._total_ms, timing["total_ms"]
        if isinstance(result, OffboardError):
            return _say(result)
        if result is None or not len(result):
            what = "has nothing new to say" if result is None else "says stop: the episode is over"
            raise DialectUnsupported(f"the model {what}, for which openpi's protocol has no word")
        spent = {name: value for name, value in timing.items() if name != "prev_encode_ms"}
        spent["infer_ms"] = timing["codec_ms"] + timing["queue_ms"] + timing["infer_ms"]
        if before is not None:
            spent["prev_total_ms"] = before + timing["prev_encode_ms"]
        return encode(
            {
                JOINED: self._lengths.keep(result.columns()[JOINED]),
                "server_timing": spent,
                "policy_timing": {"infer_ms": timing["infer_ms"]},
            }
        )


def _say(error: OffboardError) -> str:
    return f"{error.code}: {error.text}"


def _as_array(value: Any) -> Any:
    """Lists of numbers are vectors; openpi's own server takes them, too."""
    if not isinstance(value, list) or not all(type(part) in (int, float) for part in cast("list[Any]", value)):
        return cast("Any", value)
    array = np.asarray(value, np.float64)
    array.flags.writeable = False  # as those of binary markers are
    return array
