"""Arithmetic of poses: (7,) = x y z in metres and a unit quaternion w x y z, as in the protocol's ``ee_pose``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from offboard_client._actions import GRIP_TOLERANCE, UNIT_TOLERANCE
from offboard_client.errors import InvalidAction

Vector = NDArray[np.float64]


def vector(value: ArrayLike, size: int | None, name: str) -> Vector:
    """``value`` as finite float64 numbers, a copy (chunks are read-only views). Raises InvalidAction for others."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidAction(f"{name} must be a vector of numbers; got {type(value).__name__}") from None
    if array.ndim != 1 or (size is not None and len(array) != size):
        raise InvalidAction(f"{name} must have shape ({'n' if size is None else size},); got {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidAction(f"{name} holds numbers that are not finite: {array.tolist()}")
    return array


def pose(value: ArrayLike, name: str) -> Vector:
    """``value`` as a pose whose quaternion is of unit length. Raises InvalidAction for others."""
    result = vector(value, 7, name)
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(result[3:]))
    if abs(length - 1) > UNIT_TOLERANCE:
        raise InvalidAction(f"the quaternion of {name} (w x y z) has length {length:.3f}; a rotation has length 1")
    result[3:] /= length
    return result


def closure(value: ArrayLike, name: str) -> float:
    """``value`` as a gripper closure, a vector of one number from 0 open to 1 closed. Raises InvalidAction.

    A network's "closed" may be 1.02. Up to :data:`GRIP_TOLERANCE` beyond an end is that end, where the fingers stop.
    """
    number = float(vector(value, 1, name)[0])
    if not -GRIP_TOLERANCE <= number <= 1 + GRIP_TOLERANCE:
        raise InvalidAction(f"{name} is {number:g}; 0 is open and 1 is closed")
    return min(max(number, 0.0), 1.0)


def distance(a: Vector, b: Vector) -> tuple[float, float]:
    """Between two poses: metres, and the angle of the rotation from one to the other in radians (0 … pi)."""
    # q and -q are the same rotation, hence the absolute value.
    cosine = min(abs(float(a[3:] @ b[3:])), 1.0)
    return float(np.linalg.norm(a[:3] - b[:3])), 2 * float(np.arccos(cosine))


def twist(a: Vector, b: Vector, seconds: float) -> Vector:
    """The velocity (6,) that leads from pose ``a`` to pose ``b`` the shorter way: m/s, and rad/s in base axes."""
    # b times the inverse of a: what turns a into b, seen from the base.
    w = float(a[3:] @ b[3:])
    axis = a[3] * b[4:] - b[3] * a[4:] - np.cross(b[4:], a[4:])
    axis = axis if w >= 0 else -axis
    sine = float(np.linalg.norm(axis))
    angle = 2 * float(np.arctan2(sine, abs(w)))
    result = np.empty(6)
    result[:3] = b[:3] - a[:3]
    result[3:] = axis * (angle / sine if sine > 0 else 0.0)
    return result / seconds
