"""Where Franka's published table puts the gripper: by matrices alone, to check others' kinematics against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: Craig's convention: a, d, alpha; then come the flange, and our gripper on it.
DH = [
    (0.0, 0.333, 0.0), (0.0, 0.0, -math.pi / 2), (0.0, 0.316, math.pi / 2), (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2), (0.0, 0.0, math.pi / 2), (0.088, 0.0, math.pi / 2),
]  # fmt: skip


def by_the_table(q: Array) -> Array:
    """Joints (n, 7) → homogeneous matrices (n, 4, 4) from the gripper's frame to the base's."""
    matrix = np.eye(4)
    for (a, d, alpha), angle in zip(DH, q.T, strict=True):
        matrix = matrix @ _rotation(alpha, "x") @ _translation(a, 0) @ _rotation(angle, "z") @ _translation(0, d)
    return matrix @ _translation(0, 0.107) @ _rotation(-math.pi / 4, "z") @ _translation(0, 0.1034)


def _translation(x: float, z: float) -> Array:
    matrix = np.eye(4)
    matrix[[0, 2], 3] = x, z
    return matrix


def _rotation(angle: float | Array, axis: str) -> Array:
    matrix = np.tile(np.eye(4), (*np.shape(angle), 1, 1))
    i, j = {"x": (1, 2), "z": (0, 1)}[axis]
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., j, i], matrix[..., i, j] = np.sin(angle), -np.sin(angle)
    return matrix
