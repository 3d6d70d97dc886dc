"""A codec as a session uses it: with its name, how it was chosen, and its meta read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..types import Chunk, Codec, CodecMeta, NoParams, Observation


@dataclass(frozen=True)
class ResolvedCodec:
    """``name``: the full name (``lerobot.ee``). ``source``: who chose it. ``options``: what it was made with."""

    codec: Codec
    name: str
    source: Literal["checkpoint", "option", "default"]
    options: Any = field(default_factory=NoParams)
    meta: CodecMeta = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meta", self.codec.meta)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return self.codec.encode(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return self.codec.decode(chunk, observation)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return self.codec.encode_actions(chunk, observation)
