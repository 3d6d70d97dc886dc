"""LIBERO's robots, as the data sets of every vendor have them: the inverse of ``offboard_core.codecs.LiberoState``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from offboard_client.errors import InvalidAction
from offboard_client.wire import convert, convert_pose

from ..codecs import LIBERO_CONVENTIONS, LIBERO_FINGER, LIBERO_POSITION_STEP, LIBERO_ROTATION_STEP, LiberoCodecOptions
from ..types import Array
from .keysets import KeySet

#: Rounding may leave a step this far outside the range that a robot's controller plays.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class LiberoKeys(KeySet):
    """Axis-angles, two fingers, mirrored pictures, and steps from -1 to 1. The grip's are the vendor's own."""

    actions: Mapping[str, int] = field(default_factory=lambda: {"pose_delta": 6, "target_grip": 1})
    conventions: Mapping[str, str] = field(default_factory=lambda: dict(LIBERO_CONVENTIONS))
    fps: float | None = LiberoCodecOptions().fps

    def misfit(self, options: Any) -> str | None:
        """See :meth:`KeySet.misfit`. Upright pictures are made of such a robot's, which stand as in the data sets."""
        pictures = getattr(options, "pictures", "upright")
        if pictures == "upright":
            return None
        return (
            f"the pictures are upright for the robot, as this protocol has them, {pictures}'s for the model: leave "
            "--codec.pictures away"
        )

    def _part(self, name: str, value: Array) -> Array:
        if name == "grip":
            return 1 - np.mean([value[0], -value[1]], keepdims=True) / LIBERO_FINGER
        return convert_pose(value, "rotvec", "quat")

    def _image(self, key: str, image: Any) -> Any:
        return np.ascontiguousarray(image[:, ::-1])

    def _step(self, name: str, steps: Array) -> Array:
        if name != "pose_delta":
            return steps
        # Either sign is the same rotation; the one with w >= 0 is the short way round.
        short = np.where(steps[:, 3:4] < 0, -steps[:, 3:], steps[:, 3:])
        turn = convert(short, "quat", "rotvec") / LIBERO_ROTATION_STEP
        move = check_range(name, steps[:, :3] / LIBERO_POSITION_STEP, LIBERO_POSITION_STEP, "m")
        return np.concatenate([move, check_range(name, turn, LIBERO_ROTATION_STEP, "rad")], axis=1)

    def _step_back(self, name: str, steps: Array) -> Array:
        if name != "pose_delta":
            return steps
        turn = convert(steps[:, 3:] * LIBERO_ROTATION_STEP, "rotvec", "quat")
        return np.concatenate([steps[:, :3] * LIBERO_POSITION_STEP, turn], axis=1)


def check_range(name: str, steps: Array, whole: float, unit: str) -> Array:
    """``steps`` as they are: raises InvalidAction beyond [-1, 1], to which such a robot's controller clips in silence.

    ``whole``: what 1 is, in ``unit``.
    """
    if (np.abs(steps) > 1 + _ROUNDING).any():
        raise InvalidAction(
            f"the model answered a {name} of {float(np.abs(steps).max() * whole):.3g} {unit} in one step; this robot "
            f"plays {whole:g} {unit} at most and would clip it"
        )
    return steps
