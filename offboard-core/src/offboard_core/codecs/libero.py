"""LIBERO, a simulated Franka arm in robosuite, as the data sets of every vendor have it.

Poses are in the simulation's own world frame, not the arm's base. The data sets hold robosuite's pictures turned by 180
degrees. robosuite's pictures are upside down, so to a person who sees the scene upright the training pictures are
mirrored left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from offboard_client.wire import convert

from ..types import Array, Codec, CodecMeta, Field, Observation
from .images import LetterboxImage
from .state import StateVector, canonical_field
from .timing import positive, rate

#: What an action of 1 is: robosuite's controller clips to [-1, 1] and scales by these (m, rad).
LIBERO_POSITION_STEP, LIBERO_ROTATION_STEP = 0.05, 0.5
#: How far one finger of the open gripper is from the middle, in m.
LIBERO_FINGER = 0.04
LIBERO_CONVENTIONS = {
    "quaternion": "w x y z",
    "frame": "LIBERO's world (robosuite)",
    "grip": "0 open, 1 closed",
    "pose_delta": (
        f"clipped to [-1, 1] as robosuite does, times {LIBERO_POSITION_STEP} m and {LIBERO_ROTATION_STEP} rad"
    ),
}


@dataclass(frozen=True, kw_only=True)
class LiberoCodecOptions:
    """What every vendor's codec for LIBERO can be told."""

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


@dataclass(frozen=True, kw_only=True)
class LiberoState(Codec):
    """Makes ``name``, (8,) float32: position, rotation as axis times angle, and where the two fingers are.

    Of ``robot_state.ee_pose`` in LIBERO's world, and ``grip``.
    """

    blocking = False

    name: str

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
        state = _STATE.encode(observation)[_STATE.name]
        finger = LIBERO_FINGER * (1 - state[6:])
        return {self.name: np.concatenate([state[:6], finger, -finger]).astype(np.float32)}


_STATE = StateVector(name="state", parts={"robot_state.ee_pose": 7, "grip": 1}, rotation="rotvec")


@dataclass(frozen=True, kw_only=True)
class LiberoImage(LetterboxImage):
    """An image as LIBERO's training data show the scene. ``upside_down``: the robot sends robosuite's own pictures."""

    upside_down: bool

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        scaled = super().encode(observation)[self.name]
        return {self.name: np.ascontiguousarray(scaled[::-1, ::-1] if self.upside_down else scaled[:, ::-1])}


def libero_delta(rows: Array) -> Array:
    """LIBERO's actions, (T, 6) for position and rotation, as the ``pose_delta`` (T, 7) that robosuite makes of them."""
    clipped: Array = np.clip(rows, -1.0, 1.0)
    rotation = convert(clipped[:, 3:] * LIBERO_ROTATION_STEP, "rotvec", "quat")
    return np.concatenate([clipped[:, :3] * LIBERO_POSITION_STEP, rotation], axis=-1)
