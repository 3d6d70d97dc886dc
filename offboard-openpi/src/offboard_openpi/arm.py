"""Positronic's codecs for one arm with a gripper, so that data sets and checkpoints made there work here.

================== ================================== ============================ ================================
codec              ``observation/state``              action                       trained on
================== ================================== ============================ ================================
``ee``             pose (7), grip (1)                 pose (7), grip (1)           what was commanded
``ee_joints``      pose (7), grip (1), joints (7)     pose (7), grip (1)           what was commanded
``ee_traj``        pose (7), grip (1)                 pose (7), grip (1), 0 or 1   where the arm went; grip 0 or 1
``ee_joints_traj`` pose (7), grip (1), joints (7)     pose (7), grip (1), 0 or 1   where the arm went; grip 0 or 1
``joints_traj``    joints (7), grip (1)               joints (7), grip (1), 0 or 1 where the arm went; grip 0 or 1
================== ================================== ============================ ================================
"""

from __future__ import annotations

from dataclasses import dataclass, field

from offboard_client.errors import BadParameter
from offboard_core.codecs import ActionSplit, ArmCodecOptions, StateVector, TrainingColumns, timed
from offboard_core.types import Checkpoint, Codec

from .blocks import Prompt, camera, check_fit

STATE, WRIST, EXTERIOR = "observation/state", "observation/wrist_image", "observation/image"
#: What openpi is sent → the column of a data set made for training; LeRobot's names, as Positronic's config maps them.
COLUMNS = {
    STATE: "observation.state",
    WRIST: "observation.images.left",
    EXTERIOR: "observation.images.side",
    "action": "action",
}
POSE, JOINTS = "robot_state.ee_pose", "robot_state.q"
#: Codec → what its state is made of, in this order.
STATES: dict[str, dict[str, int]] = {
    "ee": {POSE: 7, "grip": 1},
    "ee_joints": {POSE: 7, "grip": 1, JOINTS: 7},
    "ee_traj": {POSE: 7, "grip": 1},
    "ee_joints_traj": {POSE: 7, "grip": 1, JOINTS: 7},
    "joints_traj": {JOINTS: 7, "grip": 1},
}
#: What their action is made of, in this order.
POSE_ACTION = {"target_pose": 7, "target_grip": 1}
JOINT_ACTION = {"target_joints": 7, "target_grip": 1}


@dataclass(frozen=True, kw_only=True)
class ArmOptions(ArmCodecOptions):
    """The options of the five arm codecs."""

    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's image → wrist_image or image, instead of image.wrist and image.exterior."""


_COMMANDED = ActionSplit(parts=POSE_ACTION, labels={"target_pose": "target_pose", "target_grip": "target_grip"})
_DRIVEN = ActionSplit(parts=POSE_ACTION, binarize_grip=True, labels={"target_pose": POSE, "target_grip": "grip"})
_DRIVEN_JOINTS = ActionSplit(
    parts=JOINT_ACTION,
    binarize_grip=True,
    labels={"target_joints": JOINTS, "target_grip": "grip"},
)


def ee(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses in, poses out."""
    return _arm("ee", options, checkpoint, _COMMANDED)


def ee_joints(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses and joints in, the grip between them; poses out."""
    return _arm("ee_joints", options, checkpoint, _COMMANDED)


def ee_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses in, poses out, trained on the poses that were reached."""
    return _arm("ee_traj", options, checkpoint, _DRIVEN)


def ee_joints_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses and joints in, poses out, trained on the poses that were reached."""
    return _arm("ee_joints_traj", options, checkpoint, _DRIVEN)


def joints_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Joints in, joints out, trained on the joints that were reached."""
    return _arm("joints_traj", options, checkpoint, _DRIVEN_JOINTS)


def _arm(name: str, options: ArmOptions, checkpoint: Checkpoint, split: ActionSplit) -> Codec:
    state = STATES[name]
    cameras = _cameras(options.map)
    check_fit(name, {STATE: (sum(state.values()),), **dict.fromkeys(cameras)}, 8, checkpoint)
    parts: Codec = StateVector(name=STATE, parts=state, binarize_grip=options.binarize_state_grip)
    for feature, source in cameras.items():
        parts = parts & camera(feature, source)
    return timed(TrainingColumns(inner=parts & Prompt() & split, columns=COLUMNS), options.fps, options.horizon_sec)


def _cameras(names: dict[str, str]) -> dict[str, str]:
    """openpi's image → the robot's."""
    cameras = {WRIST: "image.wrist", EXTERIOR: "image.exterior"}
    for source, wanted in names.items():
        feature = wanted if wanted in cameras else f"observation/{wanted}"
        if feature not in cameras or list(names.values()).count(wanted) > 1:
            raise BadParameter(f"the option map {source}={wanted}: give wrist_image and image one camera each")
        cameras[feature] = source
    return cameras
