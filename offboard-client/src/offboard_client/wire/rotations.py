"""Representations of a rotation, and conversions between them; vectorised over leading axes, in float64.

=================== ==== ================================================================================
``quat``            4    unit quaternion w x y z, the canonical one; either sign
``quat_xyzw``       4    the same with w last
``euler``           3    roll, pitch, yaw in rad: R = Rz(yaw) Ry(pitch) Rx(roll)
``rotation_matrix`` 9    R row by row
``rotvec``          3    axis times angle in rad, angle in [0, 2 pi]; the sign of the quaternion is kept
``rot6d``           6    the first two *rows* of R (Zhou et al. 2019 take columns)
=================== ==== ================================================================================

A pose is a translation followed by a rotation. These are Positronic's conventions, so that data sets and
checkpoints made there mean the same here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from .arrays import Array

Rotation = Literal["quat", "quat_xyzw", "euler", "rotation_matrix", "rotvec", "rot6d"]

#: Numbers per rotation.
WIDTHS: dict[Rotation, int] = {
    "quat": 4, "quat_xyzw": 4, "euler": 3, "rotation_matrix": 9, "rotvec": 3, "rot6d": 6,
}  # fmt: skip
_SMALLEST_QUATERNION = 1e-9
# Whose squares are numbers still, and whose sines are not made up.
_LARGEST = 1e15
_SMALLEST_AXIS = 1e-10
# A network's matrix is off by its precision; what is off by more is not a rotation.
_ORTHONORMAL = 1e-2


def convert(rotation: Array, source: Rotation, target: Rotation) -> Array:
    """``rotation`` (…, N) in the representation ``source``, as (…, M) float64 in ``target``.

    Raises ValueError for what is no rotation: a wrong width, a quaternion or axis of almost no length,
    parallel rows, a matrix that is not orthonormal, or numbers that are not finite or beyond 1e15.
    """
    rotation = np.asarray(rotation, np.float64)
    width = WIDTHS[source]
    if rotation.ndim == 0 or rotation.shape[-1] != width:
        raise ValueError(f"{source} has {width} numbers, and the array has the shape {rotation.shape}")
    if not np.isfinite(rotation).all():
        raise ValueError("a rotation is not finite")
    if (far := np.abs(rotation) > _LARGEST).any():
        raise ValueError(f"a rotation holds {rotation[far][0]:.3g}, which is no part of one")
    quat = _TO_QUAT[source](rotation)
    return _FROM_QUAT[target](quat)


def convert_pose(pose: Array, source: Rotation, target: Rotation) -> Array:
    """``pose`` (…, 3 + N), a translation and a rotation in ``source``, as (…, 3 + M) float64 in ``target``."""
    pose = np.asarray(pose, np.float64)
    return np.concatenate([pose[..., :3], convert(pose[..., 3:], source, target)], axis=-1)


def _unit(vector: Array, smallest: float, what: str) -> Array:
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    if (norm <= smallest).any():
        raise ValueError(f"{what} has almost no length ({float(norm.min()):.3g})")
    return vector / norm


def _normalized(quat: Array) -> Array:
    return _unit(quat, _SMALLEST_QUATERNION, "a quaternion")


def _matrix(quat: Array) -> Array:
    """(…, 4) unit quaternions as (…, 3, 3)."""
    w, x, y, z = np.moveaxis(quat, -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, axis=-1).reshape(*quat.shape[:-1], 3, 3)


def _quat_of_matrix(matrix: Array) -> Array:
    """(…, 3, 3) rotation matrices as quaternions; of four equivalent formulas the best conditioned one."""
    error = np.abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max(initial=0.0)
    if error > _ORTHONORMAL or (np.linalg.det(matrix) <= 0).any():
        raise ValueError(f"a matrix is no rotation: its rows are not orthonormal and right-handed (off by {error:.3g})")
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    candidates = np.stack(
        [
            np.stack([1 + m[0][0] + m[1][1] + m[2][2], m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]], -1),
            np.stack([m[2][1] - m[1][2], 1 + m[0][0] - m[1][1] - m[2][2], m[0][1] + m[1][0], m[0][2] + m[2][0]], -1),
            np.stack([m[0][2] - m[2][0], m[0][1] + m[1][0], 1 - m[0][0] + m[1][1] - m[2][2], m[1][2] + m[2][1]], -1),
            np.stack([m[1][0] - m[0][1], m[0][2] + m[2][0], m[1][2] + m[2][1], 1 - m[0][0] - m[1][1] + m[2][2]], -1),
        ],
        axis=-2,
    )
    best = np.argmax(np.diagonal(candidates, axis1=-2, axis2=-1), axis=-1)
    return _normalized(np.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :])


def _quat_of_rows(rows: Array) -> Array:
    """(…, 6) as quaternions: the two rows made orthonormal (Gram-Schmidt), the third their cross product."""
    first = _unit(rows[..., :3], _SMALLEST_AXIS, "the first row of a rot6d")
    across = rows[..., 3:] - np.sum(first * rows[..., 3:], axis=-1, keepdims=True) * first
    second = _unit(across, _SMALLEST_AXIS, "the second row of a rot6d, across the first,")
    return _quat_of_matrix(np.stack([first, second, np.cross(first, second)], axis=-2))


def _quat_of_euler(angles: Array) -> Array:
    (cr, cp, cy), (sr, sp, sy) = (np.moveaxis(f(angles / 2), -1, 0) for f in (np.cos, np.sin))
    return np.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        axis=-1,
    )


def _euler(quat: Array) -> Array:
    matrix = _matrix(quat)
    sine, cosine = -matrix[..., 2, 0], np.hypot(matrix[..., 0, 0], matrix[..., 1, 0])
    # Looking straight up or down, roll and yaw turn about one axis: all of it is called roll. Up to there the rounding
    # of the matrix, 1e-16, moves either by as much as is left out beyond.
    locked = cosine < 1e-8
    roll = np.where(
        locked,
        np.arctan2(np.sign(sine) * matrix[..., 0, 1], matrix[..., 1, 1]),
        np.arctan2(matrix[..., 2, 1], matrix[..., 2, 2]),
    )
    yaw = np.where(locked, 0.0, np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]))
    return np.stack([roll, np.arctan2(sine, cosine), yaw], axis=-1)


def _quat_of_rotvec(rotvec: Array) -> Array:
    half = np.linalg.norm(rotvec, axis=-1, keepdims=True) / 2
    # sin(half) / angle, whole at angle 0; numpy's sinc is sin(pi x) / (pi x).
    return np.concatenate([np.cos(half), rotvec * (np.sinc(half / np.pi) / 2)], axis=-1)


def _rotvec(quat: Array) -> Array:
    sine = np.linalg.norm(quat[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quat[..., :1])
    turning = sine > 0
    return np.where(turning, angle * quat[..., 1:] / np.where(turning, sine, 1.0), 0.0)


_TO_QUAT: dict[Rotation, Callable[[Array], Array]] = {
    "quat": _normalized,
    "quat_xyzw": lambda r: _normalized(np.roll(r, 1, axis=-1)),
    "euler": _quat_of_euler,
    "rotation_matrix": lambda r: _quat_of_matrix(r.reshape(*r.shape[:-1], 3, 3)),
    "rotvec": _quat_of_rotvec,
    "rot6d": _quat_of_rows,
}
_FROM_QUAT: dict[Rotation, Callable[[Array], Array]] = {
    "quat": lambda q: q,
    "quat_xyzw": lambda q: np.roll(q, -1, axis=-1),
    "euler": _euler,
    "rotation_matrix": lambda q: _matrix(q).reshape(*q.shape[:-1], 9),
    "rotvec": _rotvec,
    "rot6d": lambda q: _matrix(q)[..., :2, :].reshape(*q.shape[:-1], 6),
}
