"""What openpi's robots send and expect, read back into canonical terms: the inverse of this package's codecs.

Tables and constants are the codecs' own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation
from offboard_core.codecs import CONVENTIONS
from offboard_core.frontends import KeySet, LiberoKeys, check_range
from offboard_core.types import Array, is_array

from . import aloha, arm, droid, libero
from .families import ALOHA, DROID, DROID_JOINTS, LIBERO, POSITRONIC, PROMPT

_GRIP = {"grip": CONVENTIONS["grip"]}


@dataclass(frozen=True, kw_only=True)
class OpenPIKeys(KeySet):
    """``action_space``: what the actions are, as :class:`~.families.Family` calls it."""

    instruction: str = PROMPT
    action_space: str


class _Droid(OpenPIKeys):
    """Joint deltas become DROID's velocities again."""

    def _step(self, name: str, steps: Array) -> Array:
        return check_range(name, steps / droid.STEP, droid.STEP, "rad") if name == "joint_delta" else steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return steps * droid.STEP if name == "joint_delta" else steps


@dataclass(frozen=True, kw_only=True)
class _Libero(LiberoKeys, OpenPIKeys):
    """The grip's steps go from -1, open, to 1."""

    def _step(self, name: str, steps: Array) -> Array:
        return 2 * steps - 1 if name == "target_grip" else super()._step(name, steps)

    def _step_back(self, name: str, steps: Array) -> Array:
        return (steps + 1) / 2 if name == "target_grip" else super()._step_back(name, steps)


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
    instruction=PROMPT,
    images={libero.WRIST: "image.wrist", libero.EXTERIOR: "image.exterior"},
    action_space=LIBERO.action_space,
    columns={"delta_pose": 6, "gripper": 1},
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
