"""openpi's encoding of observations and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadMessage, DialectUnsupported, OffboardError, brief
from offboard_client.wire import canonical, decode, encode, read_forms
from offboard_core.frontends import JOINED, Frame, ResolvedCodec, Result, check_reserved
from offboard_core.types import Array, Observation

from .lengths import Lengths


class OpenPISerializer:
    """One session's translations. ``lengths``: what was promised of the answers."""

    def __init__(self, codec: ResolvedCodec, lengths: Lengths) -> None:
        self._declared = codec.meta.observation
        self._lengths = lengths
        self._total_ms: float | None = None

    def read(self, frame: Frame) -> tuple[Observation, list[str]]:
        """A frame as an observation. Raises BadMessage or BadObservation."""
        raw = self.named(read_map(frame))
        if (endpoint := raw.pop("endpoint", "infer")) != "infer":  # from clients that also know a reset
            raise BadMessage(f"the endpoint is {brief(endpoint)}; there are infer and reset, which is a short frame")
        observation = canonical(raw, self._declared)
        check_reserved(observation)
        return {name: _as_array(value) for name, value in observation.items()}, []

    def named(self, raw: dict[str, Any]) -> dict[str, Any]:
        """What came under the client's names, under openpi's; the client's are openpi's here."""
        return raw

    def played(self, actions: Array) -> Array:
        """What is played of ``actions`` (T, D): at least as many steps as were promised."""
        return self._lengths.keep(actions)

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> Frame:
        """``actions`` (T, D) and the timings openpi's clients log. Raises DialectUnsupported for too few actions."""
        before, self._total_ms = self._total_ms, timing["total_ms"]
        if isinstance(result, OffboardError):
            return say(result)
        if result is None or not len(result):
            what = "has nothing new to say" if result is None else "says stop: the episode is over"
            raise DialectUnsupported(f"the model {what}, for which openpi's protocol has no word")
        spent = {name: value for name, value in timing.items() if name != "prev_encode_ms"}
        spent["infer_ms"] = timing["codec_ms"] + timing["queue_ms"] + timing["infer_ms"]
        if before is not None:
            spent["prev_total_ms"] = before + timing["prev_encode_ms"]
        return encode(
            {
                JOINED: self.played(result.columns()[JOINED]),
                "server_timing": spent,
                "policy_timing": {"infer_ms": timing["infer_ms"]},
            }
        )


def read_map(frame: Frame) -> dict[str, Any]:
    """A frame as it was packed. Raises BadMessage."""
    if isinstance(frame, str):
        raise BadMessage("a text frame; openpi's protocol sends observations as msgpack in binary frames")
    found = read_forms(decode(frame))
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", found)):
        raise BadMessage("an observation is a map from names to values; names are strings")
    return cast("dict[str, Any]", found)


def say(error: OffboardError) -> str:
    """An error: a text, where an answer is bytes."""
    return f"{error.code}: {error.text}"


def _as_array(value: Any) -> Any:
    """Lists of numbers are vectors; openpi's own server takes them, too."""
    if not isinstance(value, list) or not all(type(part) in (int, float) for part in cast("list[Any]", value)):
        return cast("Any", value)
    array = np.asarray(value, np.float64)
    array.flags.writeable = False  # as those of binary markers are
    return array
