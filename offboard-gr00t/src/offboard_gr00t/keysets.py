"""What GR00T's robots send and expect, read back into canonical terms: the inverse of this package's codecs.

Tables and constants are the codecs' own.
"""

from __future__ import annotations

from dataclasses import dataclass

from offboard_client.errors import BadObservation
from offboard_core.codecs import Rotation, convert_pose, pose_width
from offboard_core.frontends import KeySet
from offboard_core.types import Array

from . import arm


@dataclass(frozen=True, kw_only=True)
class GR00TKeys(KeySet):
    """``rotation``: of the robot's poses, those that it measures and those that it goes to."""

    rotation: Rotation = "quat"

    def _part(self, name: str, value: Array) -> Array:
        if name != arm.POSE or self.rotation == "quat":
            return value
        try:
            return convert_pose(value, self.rotation, "quat")
        except ValueError as error:
            raise BadObservation(f"the robot's pose is none, with its rotation as {self.rotation}: {error}") from None

    def _step(self, name: str, steps: Array) -> Array:
        return convert_pose(steps, "quat", self.rotation) if name == "target_pose" else steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return convert_pose(steps, self.rotation, "quat") if name == "target_pose" else steps


def _arm(name: str, rotation: Rotation | None) -> GR00TKeys:
    """``rotation``: as in the codec of this name; None where the arm is told joints."""
    vectors = {arm.GRIP: {"grip": 1}}
    if rotation is None:
        moved, target, width = "action.joint_position", "target_joints", 7
    else:
        moved, target, width = "action.ee_pose", "target_pose", pose_width(rotation)
        vectors[arm.EE_POSE] = {arm.POSE: width}
    if "joints" in name:
        vectors[arm.JOINT_POSITION] = {arm.JOINTS: 7}
    return GR00TKeys(
        name=name,
        vectors=vectors,
        images={arm.WRIST: "image.wrist", arm.EXTERIOR: "image.exterior"},
        instruction=arm.INSTRUCTION,
        actions={target: width, "target_grip": 1},
        columns={moved: width, "action.grip": 1},
        rotation=rotation or "quat",
    )


_POSES: dict[str, Rotation] = {
    f"ee_{rotation}{more}": rotation
    for rotation in ("quat", "rot6d")
    for more in ("", "_joints", "_traj", "_joints_traj")
}
#: Key set, named like the codec that makes the same keys.
KEYSETS: dict[str, GR00TKeys] = {
    **{name: _arm(name, rotation) for name, rotation in _POSES.items()},
    "joints_traj": _arm("joints_traj", None),
}
