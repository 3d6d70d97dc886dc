"""Gripper closure: 0 is open, 1 is closed."""

from __future__ import annotations

import numpy as np
from offboard_client.errors import BadObservation

from ..types import Array

#: An observed closure may overshoot its range by this much: sensors do.
TOLERANCE = 0.05


def is_grip(name: str) -> bool:
    """Whether an observed name is a gripper's closure (``grip``, ``grip.left``)."""
    return name.partition(".")[0] == "grip"


def binarize(grip: Array) -> Array:
    """1 where the gripper is more closed than open, else 0 (also at exactly 0.5); float32 of the same shape."""
    return (grip > 0.5).astype(np.float32)


def check_grip(name: str, grip: Array) -> None:
    """Raises BadObservation for a closure outside [-0.05, 1.05]: millimetres, percent, or a gripper upside down."""
    if ((grip < -TOLERANCE) | (grip > 1 + TOLERANCE)).any():
        raise BadObservation(
            f"{name} is {grip.tolist()}: gripper closure goes from 0 (open) to 1 (closed); "
            "scale it on the robot before it is sent"
        )
