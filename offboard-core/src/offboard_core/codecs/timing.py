"""When each step of a chunk is due, and where the chunk is cut."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_client.protocol import RATE, is_rate

from ..types import Array, Chunk, Codec, CodecMeta, Observation


@dataclass(frozen=True)
class ActionTiming(Codec):
    """Step i is due i / ``fps`` seconds after the observation was taken."""

    blocking = False

    fps: float

    def __post_init__(self) -> None:
        rate(self.fps)

    @property
    def meta(self) -> CodecMeta:
        """States the rate."""
        return CodecMeta(action_fps=float(self.fps))

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        due = _due(len(chunk), self.fps)
        if chunk.timestamp is not None and not _agree(chunk.timestamp, due, self.fps):
            raise InvalidAction(
                f"the model states its own timestamps ({', '.join(f'{at:.4g}' for at in chunk.timestamp[:4])} … s), "
                f"and they are not those of the {self.fps:g} steps a second that --fps or its codec says"
            )
        return Chunk(chunk.action, due)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return Chunk(chunk.action)


@dataclass(frozen=True)
class ActionHorizon(Codec):
    """Keeps the steps that are due before ``seconds``; stands left of the timing: ``ActionHorizon(1.0) | …``."""

    blocking = False

    seconds: float

    def __post_init__(self) -> None:
        positive("the horizon", self.seconds)

    @property
    def meta(self) -> CodecMeta:
        """States the horizon."""
        return CodecMeta(action_horizon_sec=float(self.seconds))

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        if chunk.timestamp is None:
            raise InvalidAction("a chunk without timestamps cannot be cut at a time; set --fps")
        return chunk.head(int(np.count_nonzero(chunk.timestamp < self.seconds)))

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return chunk


def _agree(stated: Array, due: Array, fps: float) -> bool:
    """Whether they differ by a tenth of a step at most: rounding, and no other rate."""
    return stated.shape == due.shape and stated.dtype.kind in "fiu" and bool((abs(stated - due) * fps < 0.1).all())


@functools.lru_cache(maxsize=64)
def _due(steps: int, fps: float) -> Array:
    """Chunks of a model mostly have one length, so their times are made once, and shared."""
    times = np.arange(steps) / fps
    times.flags.writeable = False
    return times


def timed(codec: Codec, fps: float | None, horizon_sec: float | None = None) -> Codec:
    """``codec`` with its rate and horizon, where there is one. A horizon without a rate is a ConfigurationError."""
    if fps is None:
        if horizon_sec is not None:
            raise ConfigurationError("a horizon in seconds needs the action rate; set --fps")
        return codec
    codec = ActionTiming(fps) | codec
    return codec if horizon_sec is None else ActionHorizon(horizon_sec) | codec


def rate(fps: float) -> float:
    """``fps``, if it is one that clients play (M-20). Raises ValueError."""
    if not is_rate(fps):
        raise ValueError(f"fps is {fps!r}, expected {RATE}")
    return fps


def positive(what: str, value: float) -> float:
    """``value``, if it is finite and above 0. Raises ValueError."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{what} is {value!r}, expected a finite number above 0")
    return value
