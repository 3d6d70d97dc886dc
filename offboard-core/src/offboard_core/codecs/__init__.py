"""Codecs and what they are built of; see ``docs/reference/codecs.md``.

Every block is a small frozen class with one job. A vendor's codec is a sum of them::

    ActionTiming(15.0) | (
        StateVector(name="observation.state", parts={"robot_state.ee_pose": 7, "grip": 1})
        & LetterboxImage(name="observation.images.left", source="image.wrist", size=(224, 224))
        & ActionSplit(parts={"target_pose": 7, "target_grip": 1})
    )
"""

from __future__ import annotations

from offboard_client.wire import WIDTHS, Rotation, convert, convert_pose, letterbox

from .actions import ActionSplit, ActionVector, action_field, action_shape, pose_width
from .arm_options import ArmCodecOptions
from .columns import TrainingColumns
from .grip import binarize, check_grip, is_grip
from .images import LetterboxImage
from .libero import (
    LIBERO_CONVENTIONS,
    LIBERO_FINGER,
    LIBERO_POSITION_STEP,
    LIBERO_ROTATION_STEP,
    LiberoCodecOptions,
    LiberoImage,
    LiberoState,
    libero_delta,
)
from .names import Rename, resolve_names
from .native import Native, NativeOptions, make
from .state import CONVENTIONS, StateVector, TaskText, canonical_field, canonical_shape, check_canonical
from .timing import ActionHorizon, ActionTiming, positive, rate, timed

__all__ = [
    "CONVENTIONS",
    "LIBERO_CONVENTIONS",
    "LIBERO_FINGER",
    "LIBERO_POSITION_STEP",
    "LIBERO_ROTATION_STEP",
    "WIDTHS",
    "ActionHorizon",
    "ActionSplit",
    "ActionTiming",
    "ActionVector",
    "ArmCodecOptions",
    "LetterboxImage",
    "LiberoCodecOptions",
    "LiberoImage",
    "LiberoState",
    "Native",
    "NativeOptions",
    "Rename",
    "Rotation",
    "StateVector",
    "TaskText",
    "TrainingColumns",
    "action_field",
    "action_shape",
    "binarize",
    "canonical_field",
    "canonical_shape",
    "check_canonical",
    "check_grip",
    "convert",
    "convert_pose",
    "is_grip",
    "letterbox",
    "libero_delta",
    "make",
    "pose_width",
    "positive",
    "rate",
    "resolve_names",
    "timed",
]
