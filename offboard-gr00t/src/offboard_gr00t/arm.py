"""Positronic's codecs for one arm with a gripper, so that data sets and checkpoints made there work here.

======================= ============================== ================ ==================================
codec                   ``state.…``                    ``action.…``     trained on
======================= ============================== ================ ==================================
``ee_quat``             grip, ee_pose (7)              ee_pose, grip    what was commanded
``ee_rot6d``            grip, ee_pose (9)              ee_pose, grip    what was commanded
``…_joints``            and joint_position (7)         ee_pose, grip    what was commanded
``…_traj``              as the codec without it        ee_pose, grip    where the arm went; grip 0 or 1
``joints_traj``         grip, joint_position (7)       joint_position,  where the arm went; grip 0 or 1
                                                       grip
======================= ============================== ================ ==================================

A rotation is a quaternion w x y z, or the first two rows of its matrix. The model's answers are absolute, also where it
was trained on relative ones: GR00T adds the state itself before it answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from offboard_client.errors import BadParameter
from offboard_core.codecs import (
    ActionSplit,
    ArmCodecOptions,
    LetterboxImage,
    Rotation,
    StateVector,
    TrainingColumns,
    timed,
)
from offboard_core.codecs import pose_width as width_of
from offboard_core.types import Checkpoint, Codec

from .blocks import VECTOR, Groups, Instruction, check_fit, image_size, instruction_key

#: What GR00T's own transforms scale to; the same here, so that less crosses the wire.
SIZE = (224, 224)
WRIST, EXTERIOR = "video.wrist_image", "video.exterior_image_1"
GRIP, EE_POSE, JOINT_POSITION = "state.grip", "state.ee_pose", "state.joint_position"
#: Positronic's key for the instruction.
INSTRUCTION = "annotation.language.language_instruction"
POSE, JOINTS = "robot_state.ee_pose", "robot_state.q"


@dataclass(frozen=True, kw_only=True)
class ArmOptions(ArmCodecOptions):
    """The options of the arm codecs."""

    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's image → wrist_image or exterior_image_1, instead of image.wrist and image.exterior."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What one of the codecs reads and answers.

    ``rotation``: of the pose; None where the state and the answers are joints. ``joints``: whether the joints are read.
    ``driven``: whether it is trained on where the arm went, not on what was commanded.
    """

    rotation: Rotation | None
    joints: bool = False
    driven: bool = False

    @property
    def state(self) -> dict[str, int]:
        """Group of the state → its numbers."""
        pose = {} if self.rotation is None else {EE_POSE: width_of(self.rotation)}
        return {GRIP: 1, **pose, **({JOINT_POSITION: 7} if self.joints else {})}

    @property
    def makes(self) -> dict[str, tuple[int, ...] | None]:
        """The same as shapes."""
        return {name: (width,) for name, width in self.state.items()}

    @property
    def moved(self) -> str:
        """The group of the answer that is not the grip, without its prefix."""
        return "joint_position" if self.rotation is None else "ee_pose"

    @property
    def action(self) -> dict[str, int]:
        """Group of the answer → its numbers, in order."""
        return {f"action.{self.moved}": 7 if self.rotation is None else width_of(self.rotation), "action.grip": 1}


#: Codec → its layout.
LAYOUTS = {
    "ee_quat": Layout(rotation="quat"),
    "ee_quat_joints": Layout(rotation="quat", joints=True),
    "ee_rot6d": Layout(rotation="rot6d"),
    "ee_rot6d_joints": Layout(rotation="rot6d", joints=True),
    "ee_quat_traj": Layout(rotation="quat", driven=True),
    "ee_rot6d_traj": Layout(rotation="rot6d", driven=True),
    "ee_quat_joints_traj": Layout(rotation="quat", joints=True, driven=True),
    "ee_rot6d_joints_traj": Layout(rotation="rot6d", joints=True, driven=True),
    "joints_traj": Layout(rotation=None, joints=True, driven=True),
}


def ee_quat(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses with quaternions, in and out."""
    return _arm("ee_quat", options, checkpoint)


def ee_quat_joints(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses with quaternions, and joints in; poses out."""
    return _arm("ee_quat_joints", options, checkpoint)


def ee_rot6d(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses with the first two rows of their rotation, in and out."""
    return _arm("ee_rot6d", options, checkpoint)


def ee_rot6d_joints(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses with the first two rows of their rotation, and joints in; poses out."""
    return _arm("ee_rot6d_joints", options, checkpoint)


def ee_quat_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """As ee_quat, trained on the poses that were reached."""
    return _arm("ee_quat_traj", options, checkpoint)


def ee_rot6d_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """As ee_rot6d, trained on the poses that were reached."""
    return _arm("ee_rot6d_traj", options, checkpoint)


def ee_quat_joints_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """As ee_quat_joints, trained on the poses that were reached."""
    return _arm("ee_quat_joints_traj", options, checkpoint)


def ee_rot6d_joints_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """As ee_rot6d_joints, trained on the poses that were reached."""
    return _arm("ee_rot6d_joints_traj", options, checkpoint)


def joints_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Joints in, joints out, trained on the joints that were reached."""
    return _arm("joints_traj", options, checkpoint)


def _arm(name: str, options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    layout = LAYOUTS[name]
    parts: Codec = StateVector(name=GRIP, parts={"grip": 1}, binarize_grip=options.binarize_state_grip)
    if layout.rotation is not None:
        parts = parts & StateVector(name=EE_POSE, parts={POSE: 7}, rotation=layout.rotation)
    if layout.joints:
        parts = parts & StateVector(name=JOINT_POSITION, parts={JOINTS: 7})
    cameras = _cameras(options.map)
    for key, source in cameras.items():
        parts = parts & LetterboxImage(name=key, source=source, size=image_size(checkpoint, key, SIZE))
    made = layout.makes
    check_fit(name, {**made, **dict.fromkeys(cameras)}, layout.action, checkpoint)
    inner = parts & Instruction(key=instruction_key(checkpoint, INSTRUCTION)) & _groups(layout)
    columns = {key: key.partition(".")[2] for key in (*made, *cameras)} | {VECTOR: VECTOR}
    return timed(TrainingColumns(inner=inner, columns=columns), options.fps, options.horizon_sec)


def _groups(layout: Layout) -> Groups:
    target, reached = ("target_joints", JOINTS) if layout.rotation is None else ("target_pose", POSE)
    widths = [*layout.action.values()]
    labels = (
        {target: reached, "target_grip": "grip"} if layout.driven else {target: target, "target_grip": "target_grip"}
    )
    split = ActionSplit(
        name=VECTOR,
        parts=dict(zip((target, "target_grip"), widths, strict=True)),
        rotation=layout.rotation or "quat",
        binarize_grip=layout.driven,
        labels=labels,
    )
    return Groups(groups=layout.action, split=split)


def _cameras(names: dict[str, str]) -> dict[str, str]:
    """GR00T's camera → the robot's."""
    cameras = {WRIST: "image.wrist", EXTERIOR: "image.exterior"}
    for source, wanted in names.items():
        key = wanted if wanted in cameras else f"video.{wanted}"
        if key not in cameras or list(names.values()).count(wanted) > 1:
            raise BadParameter(
                f"the option map {source}={wanted}: give wrist_image and exterior_image_1 one camera each"
            )
        cameras[key] = source
    return cameras
