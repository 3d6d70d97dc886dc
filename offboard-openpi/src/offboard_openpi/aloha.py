"""ALOHA: two arms of six joints with a gripper each, up to four cameras, at 50 Hz.

ALOHA's own numbers, which openpi's configs take and answer, have the gripper 1 *open*; the canonical grip is 0 open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from offboard_client.errors import BadParameter
from offboard_core.codecs import ActionSplit, StateVector, TrainingColumns, is_grip, positive, rate, timed
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Field, Observation, Stage

from .blocks import SIZE, Prompt, camera, check_fit

#: ALOHA's camera → the robot's name for it, and whether openpi needs it.
CAMERAS = {
    "cam_high": ("image.exterior", True),
    "cam_low": ("image.low", False),
    "cam_left_wrist": ("image.left.wrist", False),
    "cam_right_wrist": ("image.right.wrist", False),
}
#: What its state and its action are made of, in this order.
STATE_PARTS = {"robot_state.left.q": 6, "grip.left": 1, "robot_state.right.q": 6, "grip.right": 1}
ACTION_PARTS = {"target_joints.left": 6, "target_grip.left": 1, "target_joints.right": 6, "target_grip.right": 1}


@dataclass(frozen=True, kw_only=True)
class AlohaOptions:
    """The options of ``openpi.aloha``."""

    fps: float = 50.0
    """Steps per second."""
    horizon_sec: float | None = 0.5
    """Where a chunk is cut, in seconds; null: whole."""
    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's image → cam_high, cam_low, cam_left_wrist or cam_right_wrist."""

    def __post_init__(self) -> None:
        rate(self.fps)
        if self.horizon_sec is not None:
            positive("horizon_sec", self.horizon_sec)


def aloha(options: AlohaOptions, checkpoint: Checkpoint) -> Codec:
    """Two arms' joints and grips; absolute joints and grips out. For serving only."""
    check_fit("aloha", {"state": (14,), "images": None}, 14, checkpoint)
    declared = checkpoint.inputs.get("task")
    sources = {cam: source for cam, (source, _) in CAMERAS.items()}
    for source, cam in options.map.items():
        if cam not in CAMERAS or list(options.map.values()).count(cam) > 1:
            raise BadParameter(f"the option map {source}={cam}: give each of {', '.join(CAMERAS)} one camera at most")
        sources[cam] = source
    inner = FlipGrips() | (
        StateVector(name="state", parts=STATE_PARTS)
        & AlohaImages(sources=tuple(sources.items()))
        & Prompt(required=declared is None or declared.required)
        & ActionSplit(parts=ACTION_PARTS)
    )
    return timed(TrainingColumns(inner=inner, columns={}), options.fps, options.horizon_sec)


@dataclass(frozen=True)
class FlipGrips(Stage):
    """Turns a gripper's closure into ALOHA's opening, and back."""

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`. What is no number is left for the next part to refuse."""
        return {
            name: 1.0 - value if is_grip(name) and isinstance(value, (int, float, np.ndarray, np.number)) else value
            for name, value in observation.items()
        }

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        columns = {n: 1.0 - c if n.partition(".")[0] == "target_grip" else c for n, c in chunk.columns().items()}
        return chunk.replace(action=columns)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return self.decode(chunk, observation)


@dataclass(frozen=True, kw_only=True)
class AlohaImages(Codec):
    """``images``: a map of ALOHA's cameras to (3, 224, 224) uint8, those that the robot sends."""

    sources: tuple[tuple[str, str], ...]

    @property
    def meta(self) -> CodecMeta:
        """Reads one to four images of any size."""
        read = {
            source: Field(shape=(-1, -1, 3), dtype="uint8", unit="RGB", required=CAMERAS[cam][1])
            for cam, source in self.sources
        }
        return CodecMeta(observation=read, image_sizes=SIZE)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        images: dict[str, Any] = {}
        for cam, source in self.sources:
            if CAMERAS[cam][1] or observation.get(source) is not None:
                scaled = camera(cam, source).encode(observation)[cam]
                images[cam] = np.ascontiguousarray(scaled.transpose(2, 0, 1))
        return {"images": images}
