"""LIBERO, a simulated Franka arm (robosuite), for GR00T's LIBERO checkpoints, from N1.5 on.

What they call roll, pitch and yaw is the rotation as axis times angle. A gripper of 1 is open in their data sets, and
only whether it is more open than closed counts, as in NVIDIA's own simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from offboard_client.errors import BadParameter, InvalidAction
from offboard_core.codecs import (
    LIBERO_CONVENTIONS,
    LiberoCodecOptions,
    LiberoImage,
    LiberoState,
    TrainingColumns,
    action_field,
    binarize,
    libero_delta,
    timed,
)
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Observation

from .blocks import STEPS, Instruction, check_fit, image_size, instruction_key

#: (width, height) that NVIDIA's simulation sends.
SIZE = (256, 256)
WRIST, EXTERIOR = "video.wrist_image", "video.image"
INSTRUCTION = "annotation.human.action.task_description"
_AXES = ("x", "y", "z", "roll", "pitch", "yaw")
STATES = {**{f"state.{axis}": 1 for axis in _AXES}, "state.gripper": 2}
MAKES: dict[str, tuple[int, ...] | None] = {
    **{name: (width,) for name, width in STATES.items()},
    WRIST: None,
    EXTERIOR: None,
}
TAKES = {f"action.{name}": 1 for name in (*_AXES, "gripper")}


@dataclass(frozen=True, kw_only=True)
class LiberoOptions(LiberoCodecOptions):
    """The options of ``gr00t.libero``."""

    horizon_sec: float | None = 0.4
    """Where a chunk is cut, in seconds; null: whole. NVIDIA's own evaluation plays eight steps."""
    map: dict[str, str] = field(default_factory=dict[str, str])
    """image.wrist and image.exterior → the checkpoint's cameras, where these are not wrist_image and image."""


def libero(options: LiberoOptions, checkpoint: Checkpoint) -> Codec:
    """Pose and grip, two cameras; pose deltas and a grip of 0 or 1 out. For serving only."""
    cameras = _cameras(options.map)
    made = {name: (width,) for name, width in STATES.items()}
    check_fit("libero", {**made, **dict.fromkeys(cameras)}, TAKES, checkpoint, plays=STEPS, maps=True)
    flip = options.pictures == "robosuite"
    parts: Codec = LiberoGroups()
    for name, source in cameras.items():
        size = image_size(checkpoint, name, SIZE)
        parts = parts & LiberoImage(name=name, source=source, size=size, upside_down=flip)
    inner = parts & Instruction(key=instruction_key(checkpoint, INSTRUCTION)) & LiberoAnswer()
    return timed(TrainingColumns(inner=inner, columns={}), options.fps, options.horizon_sec)


@dataclass(frozen=True)
class LiberoGroups(Codec):
    """LIBERO's state as a group for each number, and one for the two fingers."""

    @property
    def meta(self) -> CodecMeta:
        """Reads a pose in LIBERO's own frame."""
        return _STATE.meta

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        state = _STATE.encode(observation)[_STATE.name]
        return dict(zip(STATES, np.split(state, np.cumsum([*STATES.values()])[:-1]), strict=True))


_STATE = LiberoState(name="state")


@dataclass(frozen=True)
class LiberoAnswer(Codec):
    """Seven groups of (T, 1), as ``pose_delta`` (T, 7) and ``target_grip`` (T, 1), 0 or 1."""

    @property
    def meta(self) -> CodecMeta:
        """Says what an action of 1 is."""
        return CodecMeta(
            action={"pose_delta": action_field("pose_delta", 7), "target_grip": action_field("target_grip", 1)},
            conventions=LIBERO_CONVENTIONS,
        )

    @property
    def one_way(self) -> str | None:
        """See :meth:`Codec.one_way`."""
        return "actions are clipped as robosuite clips them: the model's own numbers are not known any more"

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`. Raises InvalidAction for other groups, or of another width."""
        columns = chunk.columns()
        if columns.keys() != TAKES.keys():
            raise InvalidAction(f"the model answered {', '.join(columns)}, the codec expects {', '.join(TAKES)}")
        rows = [columns[name] for name in TAKES]
        for name, steps in zip(TAKES, rows, strict=True):
            if steps.shape[1:] != (1,) or not np.isfinite(steps).all():
                raise InvalidAction(f"the model answered {name} {steps.shape}, expected finite numbers (T, 1)")
        delta = libero_delta(np.concatenate(rows[:6], axis=1))
        return Chunk({"pose_delta": delta, "target_grip": binarize(1 - rows[6])}, chunk.timestamp)


def _cameras(names: Mapping[str, str]) -> dict[str, str]:
    """GR00T's camera → the robot's."""
    cameras = {"image.wrist": WRIST, "image.exterior": EXTERIOR}
    for source, wanted in names.items():
        if source not in cameras:
            raise BadParameter(f"the option map {source}={wanted}: give image.wrist and image.exterior a camera each")
        cameras[source] = wanted if wanted.startswith("video.") else f"video.{wanted}"
    if len(set(cameras.values())) != len(cameras):
        raise BadParameter(f"the option map gives {cameras['image.wrist']} both pictures: each needs a camera")
    return {name: source for source, name in cameras.items()}
