"""An observation made up from what the handshake asks for: plausible values inside the declared ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

#: Half a metre before the arm's base, 30 cm above it, the gripper's frame not turned (w x y z).
_POSE = (0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0)
_GRAY = 128
#: Any instruction will do for most models; this is one that the built-in policy understands.
_TASK = "stack the red cube on the green cube"
_JOINTS = 7
_IMAGE_SIZE = (224, 224)

#: What is sent to a server that declares nothing.
_CANONICAL: Mapping[str, Mapping[str, Any]] = {
    "robot_state.ee_pose": {"shape": [7], "dtype": "float32"},
    "robot_state.q": {"shape": [_JOINTS], "dtype": "float32"},
    "grip": {"shape": [1], "dtype": "float32"},
    "image.wrist": {"shape": [-1, -1, 3], "dtype": "uint8"},
    "image.exterior": {"shape": [-1, -1, 3], "dtype": "uint8"},
    "task": {"shape": [], "dtype": "str"},
}


def synthetic_observation(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Every required name of ``meta["observation"]``, and the task; the canonical names if it declares none.

    Poses are a unit quaternion in front of the arm, joints and grips zero, images mid-gray in the size that
    ``meta["image_sizes"]`` asks for (224×224 where it says nothing).
    """
    spec = cast("Mapping[str, Mapping[str, Any]]", meta.get("observation") or _CANONICAL)
    return {
        name: _value(name, field, meta.get("image_sizes"))
        for name, field in spec.items()
        if field.get("required", True) or name == "task"
    }


def textured(observation: Mapping[str, Any]) -> dict[str, Any]:
    """The same with images that compress as a camera's do: waves with a camera's noise."""
    made = dict(observation)
    for name, value in observation.items():
        array = np.asarray(value)
        if array.ndim == 3 and array.dtype == np.uint8:
            made[name] = _texture(array.shape)
    return made


def _texture(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    x, y, z = np.ogrid[tuple(slice(0, side) for side in shape)]
    noise = np.random.default_rng(0).normal(0, 3, shape)
    return (128 + 60 * np.sin(x / 23 + z) + 50 * np.sin(y / 17 - z) + noise).clip(0, 255).astype(np.uint8)


def _value(name: str, field: Mapping[str, Any], sizes: Any) -> Any:
    dtype, shape = field.get("dtype"), field.get("shape")
    if dtype == "str" or (dtype is None and name == "task"):
        return _TASK
    if _is_image(name, shape):
        return np.full(_image_shape(name, shape, sizes), _GRAY, dtype or np.uint8)
    if _is_pose(name, field):
        return np.asarray(_POSE, dtype or np.float32)
    filled = [_JOINTS if axis == -1 else axis for axis in shape or ()]
    return np.zeros(filled, dtype or np.float32)


def _is_image(name: str, shape: Any) -> bool:
    named = name.startswith(("image.", "observation.images.")) or name.endswith("_image")
    return len(shape) == 3 if shape is not None else named


def _is_pose(name: str, field: Mapping[str, Any]) -> bool:
    unit = str(field.get("unit") or "")
    return field.get("shape") == [len(_POSE)] and ("quaternion" in unit or name.endswith("ee_pose"))


def _image_shape(name: str, shape: Any, sizes: Any) -> tuple[int, ...]:
    asked: Sequence[int] | None = cast("Mapping[str, Any]", sizes).get(name) if isinstance(sizes, Mapping) else sizes
    width, height = asked or _IMAGE_SIZE
    declared: list[int] = list(shape) if shape is not None else [-1, -1, 3]
    channels_first = declared[0] in (1, 3) and declared[2] not in (1, 3)
    usual = [3, height, width] if channels_first else [height, width, 3]
    return tuple(given if axis == -1 else axis for axis, given in zip(declared, usual, strict=True))
