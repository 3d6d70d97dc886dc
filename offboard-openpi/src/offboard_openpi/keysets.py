"""What openpi's robots send and expect, read back into canonical terms: the inverse of this package's codecs.

Tables and constants are the codecs' own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction
from offboard_core.codecs import (
    CONVENTIONS,
    LIBERO_CONVENTIONS,
    LIBERO_FINGER,
    LIBERO_POSITION_STEP,
    LIBERO_ROTATION_STEP,
    convert,
    convert_pose,
)
from offboard_core.frontends import KeySet
from offboard_core.types import Array, is_array

from . import aloha, arm, droid, libero
from .families import ALOHA, DROID, DROID_JOINTS, LIBERO, POSITRONIC, PROMPT

#: Rounding may leave a step this far outside the range that a robot's controller plays.
_ROUNDING = 1e-6
_GRIP = {"grip": CONVENTIONS["grip"]}


@dataclass(frozen=True, kw_only=True)
class OpenPIKeys(KeySet):
    """``action_space``: what the actions are, as :class:`~.families.Family` calls it."""

    instruction: str = PROMPT
    action_space: str


class _Droid(OpenPIKeys):
    """Joint deltas become DROID's velocities again."""

    def _step(self, name: str, steps: Array) -> Array:
        return _in_range(name, steps / droid.STEP, droid.STEP, "rad") if name == "joint_delta" else steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return steps * droid.STEP if name == "joint_delta" else steps


class _Libero(OpenPIKeys):
    """Axis-angles, two fingers, mirrored pictures, and steps from -1 to 1."""

    def _part(self, name: str, value: Array) -> Array:
        if name == "grip":
            return 1 - np.mean([value[0], -value[1]], keepdims=True) / LIBERO_FINGER
        return convert_pose(value, "rotvec", "quat")

    def _image(self, key: str, image: Any) -> Any:
        return np.ascontiguousarray(image[:, ::-1])

    def _step(self, name: str, steps: Array) -> Array:
        if name == "target_grip":
            return 2 * steps - 1
        # Either sign is the same rotation; the one with w >= 0 is the short way round.
        short = np.where(steps[:, 3:4] < 0, -steps[:, 3:], steps[:, 3:])
        turn = convert(short, "quat", "rotvec") / LIBERO_ROTATION_STEP
        move = _in_range(name, steps[:, :3] / LIBERO_POSITION_STEP, LIBERO_POSITION_STEP, "m")
        return np.concatenate([move, _in_range(name, turn, LIBERO_ROTATION_STEP, "rad")], axis=1)

    def _step_back(self, name: str, steps: Array) -> Array:
        if name == "target_grip":
            return (steps + 1) / 2
        turn = convert(steps[:, 3:] * LIBERO_ROTATION_STEP, "rotvec", "quat")
        return np.concatenate([steps[:, :3] * LIBERO_POSITION_STEP, turn], axis=1)


class _Aloha(OpenPIKeys):
    """Grippers are 1 open, images have their channels first."""

    def _part(self, name: str, value: Array) -> Array:
        return 1 - value if name.startswith("grip") else value

    def _image(self, key: str, image: Any) -> Any:
        if not is_array(image) or image.ndim != 3 or image.shape[0] != 3:
            raise BadObservation(f"{self.nested}/{key} is no image (3, h, w) uint8 RGB, as ALOHA sends them")
        return np.ascontiguousarray(image.transpose(1, 2, 0))

    def _step(self, name: str, steps: Array) -> Array:
        return 1 - steps if name.startswith("target_grip") else steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return self._step(name, steps)


def _in_range(name: str, steps: Array, whole: float, unit: str) -> Array:
    """``steps``, if such a robot's controller plays them as they are: it clips to [-1, 1] without a word."""
    if (np.abs(steps) > 1 + _ROUNDING).any():
        raise InvalidAction(
            f"the model answered a {name} of {float(np.abs(steps).max() * whole):.3g} {unit} in one step; this robot "
            f"plays {whole:g} {unit} at most and would clip it"
        )
    return steps


def _arm(name: str) -> OpenPIKeys:
    actions = arm.JOINT_ACTION if name == "joints_traj" else arm.POSE_ACTION
    images = {arm.WRIST: "image.wrist", arm.EXTERIOR: "image.exterior"}
    return OpenPIKeys(
        name=name,
        vectors={arm.STATE: arm.STATES[name]},
        images=images,
        actions=actions,
        action_space=POSITRONIC.action_space,
    )


_DROID = _Droid(
    name="droid",
    vectors={droid.JOINTS: {"robot_state.q": 7}, droid.GRIP: {"grip": 1}},
    images={droid.WRIST: "image.wrist", droid.EXTERIOR: "image.exterior"},
    actions={"joint_delta": 7, "target_grip": 1},
    action_space=DROID.action_space,
    columns={"joint_velocity": 7, "gripper_position": 1},
    conventions=_GRIP,
    fps=droid.FPS,
)
_DROID_JOINTS = replace(
    _DROID,
    name="droid_jointpos",
    actions=arm.JOINT_ACTION,
    action_space=DROID_JOINTS.action_space,
    columns={"joint_position": 7, "gripper_position": 1},
    fps=None,
)
_LIBERO = _Libero(
    name="libero",
    vectors={libero.STATE: {"robot_state.ee_pose": 6, "grip": 2}},
    images={libero.WRIST: "image.wrist", libero.EXTERIOR: "image.exterior"},
    actions={"pose_delta": 6, "target_grip": 1},
    action_space=LIBERO.action_space,
    columns={"delta_pose": 6, "gripper": 1},
    conventions=LIBERO_CONVENTIONS,
    fps=libero.LiberoOptions().fps,
)
_ALOHA = _Aloha(
    name="aloha",
    vectors={"state": aloha.STATE_PARTS},
    images={cam: name for cam, (name, _) in aloha.CAMERAS.items()},
    actions=aloha.ACTION_PARTS,
    action_space=ALOHA.action_space,
    columns={"left_joints": 6, "left_gripper": 1, "right_joints": 6, "right_gripper": 1},
    conventions=_GRIP,
    nested="images",
)
#: Key set, named like the codec that makes the same keys.
KEYSETS: dict[str, OpenPIKeys] = {
    keys.name: keys for keys in (*map(_arm, arm.STATES), _DROID, _DROID_JOINTS, _LIBERO, _ALOHA)
}
