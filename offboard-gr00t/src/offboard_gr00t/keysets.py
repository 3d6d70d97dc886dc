"""What GR00T's robots send and expect, read back into canonical terms: the inverse of this package's codecs.

Tables and constants are the codecs' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation
from offboard_core.codecs import Rotation, convert, convert_pose, pose_width
from offboard_core.frontends import KeySet, LiberoKeys
from offboard_core.types import Array, Field

from . import arm, droid, libero


@dataclass(frozen=True, kw_only=True)
class GR00TKeys(KeySet):
    """``unplayed``: groups that a model may answer to such a robot besides, and that it does not play."""

    unplayed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class _Arm(GR00TKeys):
    """``rotation``: of the robot's poses, those that it measures and those that it goes to."""

    rotation: Rotation

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


class _Droid(GR00TKeys):
    """The end effector's axes as the training data count them, which are not DROID's."""

    def _part(self, name: str, value: Array) -> Array:
        if name != arm.POSE:
            return value
        try:
            rotation = convert(value[3:], "rot6d", "rotation_matrix").reshape(3, 3) @ droid.TURNED.T
        except ValueError as error:
            raise BadObservation(f"the robot's pose is none, with two rows of its rotation: {error}") from None
        return np.concatenate([value[:3], convert(rotation.ravel(), "rotation_matrix", "quat")])


@dataclass(frozen=True, kw_only=True)
class _Libero(LiberoKeys, GR00TKeys):
    """A group for each number of the pose, and a gripper that is open at 1."""

    @property
    def keys(self) -> set[str]:
        """See :attr:`KeySet.keys`."""
        return super().keys - {_JOINED} | {*libero.STATES}

    def fields(self, needed: set[str]) -> dict[str, Field]:
        """See :meth:`KeySet.fields`."""
        fields = super().fields(needed)
        joined = fields.pop(_JOINED)
        return {**{name: replace(joined, shape=(width,)) for name, width in libero.STATES.items()}, **fields}

    def to_canonical(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """See :meth:`KeySet.to_canonical`."""
        sent = [observation[name] for name in libero.STATES if observation.get(name) is not None]
        rest = {name: value for name, value in observation.items() if name not in libero.STATES}
        if not sent:
            return super().to_canonical(rest)
        if len(sent) != len(libero.STATES):
            missing = sorted(name for name in libero.STATES if observation.get(name) is None)
            raise BadObservation(f"the observation lacks {', '.join(missing)}; a pose of LIBERO's is made of all")
        found = super().to_canonical({**rest, _JOINED: np.concatenate(sent)})
        return {name: value for name, value in found.items() if name != _JOINED}

    def _step(self, name: str, steps: Array) -> Array:
        return 1 - steps if name == "target_grip" else super()._step(name, steps)

    def _step_back(self, name: str, steps: Array) -> Array:
        return 1 - steps if name == "target_grip" else super()._step_back(name, steps)


#: What LIBERO's groups are, joined.
_JOINED = "state"


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
    return _Arm(
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
    "droid": _Droid(
        name="droid",
        vectors={droid.JOINTS: {arm.JOINTS: 7}, droid.GRIP: {"grip": 1}, droid.POSE: {arm.POSE: 9}},
        images={droid.WRIST: "image.wrist", droid.EXTERIOR: "image.exterior"},
        instruction=droid.INSTRUCTION,
        actions={"target_joints": 7, "target_grip": 1},
        columns=droid.TAKES,
        conventions=droid.POSE_CONVENTIONS,
        fps=droid.FPS,
        unplayed=droid.UNPLAYED,
    ),
    "libero": _Libero(
        name="libero",
        vectors={_JOINED: {arm.POSE: 6, "grip": 2}},
        images={libero.WRIST: "image.wrist", libero.EXTERIOR: "image.exterior"},
        instruction=libero.INSTRUCTION,
        columns=libero.TAKES,
    ),
}
