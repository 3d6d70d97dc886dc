"""LIBERO: a simulated Franka arm (robosuite), for openpi's LIBERO checkpoints.

Poses are in the simulation's own world frame, not the arm's base. openpi's LIBERO data hold robosuite's pictures turned
by 180 degrees. robosuite's pictures are upside down, so to a person who sees the scene upright the training pictures
are mirrored left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from offboard_client.errors import InvalidAction
from offboard_core.codecs import (
    LetterboxImage,
    StateVector,
    TrainingColumns,
    action_field,
    canonical_field,
    convert,
    positive,
    rate,
    timed,
)
from offboard_core.types import Array, Checkpoint, Chunk, Codec, CodecMeta, Field, Observation

from .blocks import SIZE, Prompt, check_fit

STATE, WRIST, EXTERIOR = "observation/state", "observation/wrist_image", "observation/image"
#: What an action of 1 is: robosuite's controller clips to [-1, 1] and scales by these (m, rad).
POSITION_STEP, ROTATION_STEP = 0.05, 0.5
#: How far one finger of the open gripper is from the middle, in m.
FINGER = 0.04
LIBERO_CONVENTIONS = {
    "quaternion": "w x y z",
    "frame": "LIBERO's world (robosuite)",
    "grip": "0 open, 1 closed",
    "pose_delta": f"clipped to [-1, 1] as robosuite does, times {POSITION_STEP} m and {ROTATION_STEP} rad",
}


@dataclass(frozen=True, kw_only=True)
class LiberoOptions:
    """The options of ``openpi.libero``."""

    fps: float = 20.0
    """Steps per second."""
    horizon_sec: float | None = 0.25
    """Where a chunk is cut, in seconds; null: whole."""
    pictures: Literal["upright", "robosuite"] = "upright"
    """How the robot sends its pictures: as one sees the scene, or upside down as robosuite renders them."""

    def __post_init__(self) -> None:
        rate(self.fps)
        if self.horizon_sec is not None:
            positive("horizon_sec", self.horizon_sec)


def libero(options: LiberoOptions, checkpoint: Checkpoint) -> Codec:
    """Pose and grip, two cameras; pose deltas and a grip out. For serving only."""
    check_fit("libero", {STATE: (8,), WRIST: None, EXTERIOR: None}, 7, checkpoint)
    flip = options.pictures == "robosuite"
    inner = (
        LiberoState()
        & LiberoImage(name=WRIST, source="image.wrist", size=SIZE, upside_down=flip)
        & LiberoImage(name=EXTERIOR, source="image.exterior", size=SIZE, upside_down=flip)
        & Prompt()
        & LiberoAction()
    )
    return timed(TrainingColumns(inner=inner, columns={}), options.fps, options.horizon_sec)


@dataclass(frozen=True)
class LiberoState(Codec):
    """``observation/state`` (8,): position, rotation as axis times angle, and where the two fingers are."""

    @property
    def meta(self) -> CodecMeta:
        """Reads a pose in LIBERO's own frame."""
        pose = Field(shape=(7,), dtype="float32", unit="m and unit quaternion w x y z, in LIBERO's world frame")
        return CodecMeta(
            observation={"robot_state.ee_pose": pose, "grip": canonical_field("grip", 1)},
            conventions=LIBERO_CONVENTIONS,
        )

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        state = _STATE.encode(observation)[STATE]
        finger = FINGER * (1 - state[6:])
        return {STATE: np.concatenate([state[:6], finger, -finger]).astype(np.float32)}


_STATE = StateVector(name=STATE, parts={"robot_state.ee_pose": 7, "grip": 1}, rotation="rotvec")


@dataclass(frozen=True, kw_only=True)
class LiberoImage(LetterboxImage):
    """An image as LIBERO's training data show the scene."""

    upside_down: bool

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        scaled = super().encode(observation)[self.name]
        return {self.name: np.ascontiguousarray(scaled[::-1, ::-1] if self.upside_down else scaled[:, ::-1])}


@dataclass(frozen=True)
class LiberoAction(Codec):
    """(T, 7): position, rotation and grip, each -1 to 1, as ``pose_delta`` (T, 7) and ``target_grip`` (T, 1)."""

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
        """See :meth:`Codec.decode`."""
        rows = chunk.columns().get("action")
        if rows is None or rows.ndim != 2 or rows.shape[1] != 7 or not np.isfinite(rows).all():
            found = "nothing" if rows is None else str(rows.shape)
            raise InvalidAction(f"the model answered {found}, LIBERO's actions are finite numbers (T, 7)")
        clipped: Array = np.clip(rows, -1.0, 1.0)
        rotation = convert(clipped[:, 3:6] * ROTATION_STEP, "rotvec", "quat")
        delta = np.concatenate([clipped[:, :3] * POSITION_STEP, rotation], axis=-1)
        return Chunk({"pose_delta": delta, "target_grip": (clipped[:, 6:] + 1) / 2}, chunk.timestamp)
