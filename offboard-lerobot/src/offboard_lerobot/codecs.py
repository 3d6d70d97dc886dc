"""Positronic's codecs for one arm with a gripper, so that data sets and checkpoints made there work here.

=============== ============================ =============================== ===================================
codec           state                        action                          trained on
=============== ============================ =============================== ===================================
``ee``          pose (7), grip (1)           pose (7), grip (1)              what was commanded
``joints``      joints (7), grip (1)         pose (7), grip (1)              what was commanded
``ee_traj``     pose (7), grip (1)           pose (7), grip (1), 0 or 1      where the arm went; grip as 0 or 1
``joints_traj`` joints (7), grip (1)         joints (7), grip (1), 0 or 1    where the arm went; grip as 0 or 1
=============== ============================ =============================== ===================================
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from offboard_client.errors import BadParameter, LoadFailed, unknown
from offboard_core.codecs import (
    ActionSplit,
    ArmCodecOptions,
    LetterboxImage,
    StateVector,
    TaskText,
    resolve_names,
    timed,
)
from offboard_core.types import Checkpoint, Codec, Field, is_image

from .features import CONFIG

STATE = "observation.state"
IMAGES = "observation.images."
#: Canonical image → the feature that Positronic's data sets call it.
CAMERAS = {"image.wrist": f"{IMAGES}left", "image.exterior": f"{IMAGES}side"}
#: (width, height) for a checkpoint that does not say.
SIZE = (224, 224)


@dataclass(frozen=True, kw_only=True)
class ArmOptions(ArmCodecOptions):
    """The options of the four codecs."""

    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's image → the checkpoint's camera (image.exterior=front), beside or instead of the usual two."""
    image_size: int | None = None
    """Height and width of the images, pixels, in a data set; null: what the checkpoint says, or 224."""
    cameras: str | None = None
    """The robot's images in a data set, with commas; null: both, and what map names; a checkpoint has its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        size: Any = self.image_size
        if size is not None and (type(size) is not int or not 8 <= size <= 4096):
            raise BadParameter(f"the option image_size is {size!r:.40}; it must be a whole number of pixels, 8 to 4096")


_POSE = {"target_pose": 7, "target_grip": 1}
_COMMANDED = {"target_pose": "target_pose", "target_grip": "target_grip"}


def ee(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses in, poses out."""
    return _arm(options, checkpoint, "robot_state.ee_pose", ActionSplit(parts=_POSE, labels=_COMMANDED))


def joints(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Joints in, poses out."""
    return _arm(options, checkpoint, "robot_state.q", ActionSplit(parts=_POSE, labels=_COMMANDED))


def ee_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Poses in, poses out, trained on the poses that were reached."""
    driven = {"target_pose": "robot_state.ee_pose", "target_grip": "grip"}
    split = ActionSplit(parts=_POSE, binarize_grip=True, labels=driven)
    return _arm(options, checkpoint, "robot_state.ee_pose", split)


def joints_traj(options: ArmOptions, checkpoint: Checkpoint) -> Codec:
    """Joints in, joints out, trained on the joints that were reached."""
    driven = {"target_joints": "robot_state.q", "target_grip": "grip"}
    split = ActionSplit(parts={"target_joints": 7, "target_grip": 1}, binarize_grip=True, labels=driven)
    return _arm(options, checkpoint, "robot_state.q", split)


def _arm(options: ArmOptions, checkpoint: Checkpoint, proprioception: str, split: ActionSplit) -> Codec:
    cameras = _cameras(options.map, options.cameras, checkpoint)
    images: list[Codec] = [
        LetterboxImage(name=feature, source=source, size=_size(options, checkpoint, feature))
        for source, feature in cameras.items()
    ]
    state = StateVector(name=STATE, parts={proprioception: 7, "grip": 1}, binarize_grip=options.binarize_state_grip)
    codec = functools.reduce(lambda left, right: left & right, images, state) & TaskText() & split
    _check_fit(codec, checkpoint)
    return timed(codec, options.fps, options.horizon_sec)


def image_map(names: Mapping[str, str], cameras: Iterable[str]) -> dict[str, str]:
    """The option ``map`` of a codec whose map is about images: the robot's image → the checkpoint's camera in full.

    Raises BadParameter for a camera that does not exist, or is given several images.
    """
    asked = resolve_names(names, cameras)
    for camera in asked.values():
        if len(images := [source for source, each in asked.items() if each == camera]) > 1:
            raise BadParameter(f"the option map gives {camera} several images: {', '.join(images)}; it takes one")
    return asked


def _cameras(names: Mapping[str, str], only: str | None, checkpoint: Checkpoint) -> dict[str, str]:
    declared = [name for name, shape in checkpoint.inputs.items() if is_image(shape)]
    asked = {
        source: feature if declared or feature.startswith(IMAGES) else IMAGES + feature
        for source, feature in image_map(names, declared).items()
    }
    usual = {source: feature for source, feature in CAMERAS.items() if feature not in asked.values()}
    cameras = usual | asked
    if only is not None and not declared:  # of what a data set is to have; a robot may call its own otherwise
        wanted = [name.strip() for name in only.split(",")]
        for name in wanted:
            if name not in cameras:
                raise BadParameter(f"the option cameras: {unknown('image', name, cameras)}")
        cameras = {source: feature for source, feature in cameras.items() if source in wanted}
    return {source: feature for source, feature in cameras.items() if not declared or feature in declared}


def _size(options: ArmOptions, checkpoint: Checkpoint, feature: str) -> tuple[int, int]:
    if options.image_size is not None:
        return options.image_size, options.image_size
    declared = checkpoint.inputs.get(feature)
    return SIZE if declared is None or declared.shape is None else (declared.shape[1], declared.shape[0])


def _check_fit(codec: Codec, checkpoint: Checkpoint) -> None:
    """Raises LoadFailed if the checkpoint wants what this codec does not make, or answers another width."""
    made = {name: feature.shape for name, feature in codec.features.items()}
    for name, declared in {**checkpoint.inputs, **checkpoint.outputs}.items():
        if made.get(name) != declared.shape:
            there = f"it makes {made[name]}" if name in made else f"it makes {', '.join(sorted(made))}"
            raise LoadFailed(
                f"the codec does not fit the checkpoint {checkpoint.id}, whose {CONFIG} declares {name} as "
                f"{declared.shape}; {there}. {_advice(declared)}"
            )


def _advice(declared: Field) -> str:
    if is_image(declared):
        return "Give the camera its name with --codec.map, or serve with --codec native"
    return (
        "This codec is for one arm of 7 joints and a grip: serve with --codec motors where these are the motors of "
        "another arm, or with --codec native"
    )
