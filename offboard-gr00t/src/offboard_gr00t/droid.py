"""DROID: a Franka arm with a Robotiq gripper at 15 Hz, for NVIDIA's DROID checkpoints.

N1.6 reads the joints and the grip, N1.7 the pose of the end effector besides (``eef_9d``). Both answer the joints to go
to, in rad: N1.7 was trained on relative ones, and adds the state before it answers. What N1.7 answers for the pose is
not played, as NVIDIA's own robot program does not play it. Fifteen steps of a chunk are played, as that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from offboard_core.codecs import (
    CONVENTIONS,
    ActionSplit,
    LetterboxImage,
    StateVector,
    TrainingColumns,
    canonical_field,
    convert,
    rate,
    timed,
)
from offboard_core.types import Checkpoint, Codec, CodecMeta, Observation

from .blocks import VECTOR, Groups, Instruction, check_fit, image_size, instruction_key

FPS = 15.0
#: (width, height) that NVIDIA's robot program sends.
SIZE = (320, 180)
WRIST, EXTERIOR = "video.wrist_image_left", "video.exterior_image_1_left"
JOINTS, GRIP, POSE = "state.joint_position", "state.gripper_position", "state.eef_9d"
INSTRUCTION = "annotation.language.language_instruction"
#: Model input → its shape; the pose only where it is read.
MAKES: dict[str, tuple[int, ...] | None] = {JOINTS: (7,), GRIP: (1,), POSE: (9,), WRIST: None, EXTERIOR: None}
TAKES = {"action.joint_position": 7, "action.gripper_position": 1}
UNPLAYED = frozenset({"action.eef_9d"})
#: DROID's end effector as the data that N1.7 learnt from count its axes: R of DROID times this.
TURNED = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


#: What the numbers of its pose are.
POSE_CONVENTIONS = {
    **CONVENTIONS,
    "robot_state.ee_pose": "DROID's cartesian_position, its angles as a quaternion",
}


@dataclass(frozen=True, kw_only=True)
class DroidOptions:
    """The options of ``gr00t.droid``."""

    fps: float = FPS
    """Steps per second; DROID's is 15."""
    steps: int | None = 15
    """How many steps of a chunk are played; null: all."""

    def __post_init__(self) -> None:
        rate(self.fps)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected 1 or more")


def droid(options: DroidOptions, checkpoint: Checkpoint) -> Codec:
    """Joints and grip apart, the pose where it is read, two cameras; joints to go to and a grip of 0 or 1 out.

    For serving only.
    """
    parts = StateVector(name=JOINTS, parts={"robot_state.q": 7}) & StateVector(name=GRIP, parts={"grip": 1})
    if not checkpoint.inputs or POSE in checkpoint.inputs:
        parts = parts & DroidPose()
    for name, source in {WRIST: "image.wrist", EXTERIOR: "image.exterior"}.items():
        parts = parts & LetterboxImage(name=name, source=source, size=image_size(checkpoint, name, SIZE))
    check_fit("droid", MAKES, TAKES, checkpoint, UNPLAYED)
    split = ActionSplit(name=VECTOR, parts={"target_joints": 7, "target_grip": 1}, binarize_grip=True)
    groups = Groups(groups=TAKES, split=split, unplayed=UNPLAYED)
    inner = parts & Instruction(key=instruction_key(checkpoint, INSTRUCTION)) & groups
    horizon = None if options.steps is None else options.steps / options.fps
    return timed(TrainingColumns(inner=inner, columns={}), options.fps, horizon)


@dataclass(frozen=True)
class DroidPose(Codec):
    """``state.eef_9d`` (9,) float32: position, and two rows of the rotation with its axes as the training data have."""

    @property
    def meta(self) -> CodecMeta:
        """Reads DROID's own pose."""
        name = "robot_state.ee_pose"
        return CodecMeta(observation={name: canonical_field(name, 7)}, conventions=POSE_CONVENTIONS)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        pose = _POSE.encode(observation)[POSE].astype(np.float64)
        rotation = convert(pose[3:], "quat", "rotation_matrix").reshape(3, 3) @ TURNED
        return {POSE: np.concatenate([pose[:3], rotation[:2].ravel()]).astype(np.float32)}


_POSE = StateVector(name=POSE, parts={"robot_state.ee_pose": 7})
