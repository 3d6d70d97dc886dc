"""DROID: a Franka arm with a Robotiq gripper at 15 Hz, for openpi's pretrained DROID checkpoints.

The model answers DROID's joint *velocities*: numbers from -1 to 1 that DROID's own controller clips to that range and
plays as 0.2 rad times the number, added to the joints that are measured when the step is executed. That is a
``joint_delta`` here. Eight steps of a chunk are played, as DROID's own client does. Other checkpoints, which take the
same, answer joint *positions* instead, as ``target_joints`` in rad.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from offboard_client.errors import InvalidAction, LoadFailed
from offboard_core.codecs import (
    CONVENTIONS,
    ActionSplit,
    StateVector,
    TrainingColumns,
    action_field,
    binarize,
    rate,
    timed,
)
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Observation

from .blocks import Prompt, camera, check_fit

#: rad that a velocity of 1 moves a joint in one step, as DROID's controller has it.
STEP = 0.2
#: DROID's velocities overshoot their range a little; what is this far off is no velocity.
_FAR = 3.0
FPS = 15.0
JOINTS, GRIP = "observation/joint_position", "observation/gripper_position"
WRIST, EXTERIOR = "observation/wrist_image_left", "observation/exterior_image_1_left"


@dataclass(frozen=True, kw_only=True)
class DroidOptions:
    """The options of ``openpi.droid``."""

    fps: float = FPS
    """Steps per second; DROID's is 15, and a step's size belongs to it."""
    steps: int = 8
    """How many steps of a chunk are played."""

    def __post_init__(self) -> None:
        rate(self.fps)
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class DroidJointsOptions:
    """The options of ``openpi.droid_jointpos``."""

    fps: float = FPS
    """Steps per second; DROID's is 15."""
    steps: int | None = None
    """How many steps of a chunk are played; null: all."""

    def __post_init__(self) -> None:
        rate(self.fps)
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected 1 or more")


def droid(options: DroidOptions, checkpoint: Checkpoint) -> Codec:
    """Joints and grip apart, two cameras; joint deltas and a grip of 0 or 1 out. For serving only."""
    _check("droid", "joint_velocity", checkpoint)
    return timed(TrainingColumns(inner=_inputs() & DroidAction(), columns={}), options.fps, options.steps / options.fps)


def droid_jointpos(options: DroidJointsOptions, checkpoint: Checkpoint) -> Codec:
    """As :func:`droid` in; joints to go to and a grip of 0 or 1 out, the whole chunk. For serving only."""
    _check("droid_jointpos", "absolute_joints", checkpoint)
    action = ActionSplit(parts={"target_joints": 7, "target_grip": 1}, binarize_grip=True)
    horizon = None if options.steps is None else options.steps / options.fps
    return timed(TrainingColumns(inner=_inputs() & action, columns={}), options.fps, horizon)


def _check(codec: str, plays: str, checkpoint: Checkpoint) -> None:
    check_fit(codec, {JOINTS: (7,), GRIP: (1,), WRIST: None, EXTERIOR: None}, 8, checkpoint)
    space = checkpoint.extras.get("action_space", plays)
    if space != plays:
        other = {"joint_velocity": "droid", "absolute_joints": "droid_jointpos"}.get(space, "native")
        raise LoadFailed(
            f"serve it with --codec {other}: the config {checkpoint.extras.get('config_name')} answers {space}, which "
            f"the codec openpi.{codec} would play as {plays}"
        )


def _inputs() -> Codec:
    return (
        StateVector(name=JOINTS, parts={"robot_state.q": 7})
        & StateVector(name=GRIP, parts={"grip": 1})
        & camera(WRIST, "image.wrist")
        & camera(EXTERIOR, "image.exterior")
        & Prompt()
    )


@dataclass(frozen=True)
class DroidAction(Codec):
    """(T, 8): seven velocities and a grip, as ``joint_delta`` (T, 7) in rad and ``target_grip`` (T, 1), 0 or 1."""

    @property
    def meta(self) -> CodecMeta:
        """Says how velocities become deltas."""
        return CodecMeta(
            action={"joint_delta": action_field("joint_delta", 7), "target_grip": action_field("target_grip", 1)},
            conventions={
                **CONVENTIONS,
                "joint_delta": f"DROID's joint velocity, clipped to [-1, 1] as its controller does, times {STEP} rad",
            },
        )

    @property
    def one_way(self) -> str | None:
        """See :meth:`Codec.one_way`."""
        return "velocities are clipped and the grip leaves as 0 or 1: the model's own numbers are not known any more"

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        rows = chunk.columns().get("action")
        if rows is None or rows.ndim != 2 or rows.shape[1] != 8 or not np.isfinite(rows).all():
            found = "nothing" if rows is None else str(rows.shape)
            raise InvalidAction(f"the model answered {found}, DROID's actions are finite numbers (T, 8)")
        velocity, grip = rows[:, :7], rows[:, 7:]
        if (np.abs(velocity) > _FAR).any():
            worst = float(velocity.flat[np.abs(velocity).argmax()])
            raise InvalidAction(
                f"the model answered a joint velocity of {worst:.3g}, DROID's go from -1 to 1; "
                "is this a DROID checkpoint with velocity actions?"
            )
        delta = np.clip(velocity, -1.0, 1.0) * STEP
        return Chunk({"joint_delta": delta, "target_grip": binarize(grip)}, chunk.timestamp)
