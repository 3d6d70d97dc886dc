"""Arithmetic of poses: (7,) = x y z in metres and a unit quaternion w x y z, as in the protocol's ``ee_pose``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidAction
from ..wire import GRIP_TOLERANCE, UNIT_TOLERANCE

Vector = NDArray[np.float64]
#: Beyond it whole numbers are not told apart, and not far beyond it squares and speeds are no numbers.
LARGEST = 2.0**53
#: Of x y z, the one after each and the one before.
_AFTER, _BEFORE = [1, 2, 0], [2, 0, 1]


def vector(value: ArrayLike, size: int | None, name: str) -> Vector:
    """``value`` as finite float64 numbers, a copy (chunks are read-only views). Raises InvalidAction for others."""
    return _vectors([value], size, name)[0]


def pose(value: ArrayLike, name: str) -> Vector:
    """``value`` as a pose whose quaternion is of unit length. Raises InvalidAction for others."""
    return poses([value], name)[0]


def poses(values: Sequence[ArrayLike], name: str) -> Vector:
    """The same of several at once, (n, 7)."""
    result = _vectors(values, 7, name)
    with np.errstate(over="ignore"):
        lengths: Vector = np.linalg.norm(result[:, 3:], axis=1)
    wrong = ~(np.abs(lengths - 1) <= UNIT_TOLERANCE)
    if wrong.any():
        length = lengths[int(wrong.argmax())]
        raise InvalidAction(f"the quaternion of {name} (w x y z) has length {length:.3f}; a rotation has length 1")
    result[:, 3:] /= lengths[:, None]
    return result


def _vectors(values: Sequence[ArrayLike], size: int | None, name: str) -> Vector:
    try:
        array = np.array(values)
        if array.dtype.kind not in "biuf":
            raise TypeError
    except (TypeError, ValueError):
        raise InvalidAction(f"{name} must be a vector of numbers; got {type(values[0]).__name__}") from None
    if array.ndim != 2 or (size is not None and array.shape[1] != size):
        raise InvalidAction(f"{name} must have shape ({'n' if size is None else size},); got {array.shape[1:]}")
    array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        where = int(finite.all(axis=1).argmin())
        raise InvalidAction(f"{name} holds numbers that are not finite: {array[where].tolist()}")
    if (far := np.abs(array) > LARGEST).any():
        raise InvalidAction(f"{name} holds {array[far][0]:.4g}; no number of a robot is beyond {LARGEST:.4g}")
    return array


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


def twists(path: Vector, seconds: float) -> Vector:
    """The velocities (n, 6) that lead along poses (n + 1, 7), each to the next the shorter way in ``seconds``.

    m/s, and rad/s in base axes.
    """
    a, b = path[:-1, 3:], path[1:, 3:]
    # b times the inverse of a: what turns a into b, seen from the base.
    w: Vector = np.einsum("ij,ij->i", a, b)
    axis: Vector = a[:, :1] * b[:, 1:] - b[:, :1] * a[:, 1:] - _cross(b[:, 1:], a[:, 1:])
    axis = np.where(w[:, None] >= 0, axis, -axis)
    sine: Vector = np.linalg.norm(axis, axis=1)
    angle = 2 * np.arctan2(sine, np.abs(w))
    turn = axis * np.divide(angle, sine, out=np.zeros_like(sine), where=sine > 0)[:, None]
    return np.hstack([np.diff(path[:, :3], axis=0), turn]) / seconds


def _cross(a: Vector, b: Vector) -> Vector:
    """Of (…, 3) each. NumPy's own spends ten times as long on what it is given."""
    return a[..., _AFTER] * b[..., _BEFORE] - a[..., _BEFORE] * b[..., _AFTER]


def mean_pose(of: Vector, weights: Vector) -> Vector:
    """The weighted mean of poses (n, 7); the weights sum to 1.

    Of rotations it is where the turns from the last one to each of them, each the shorter way, cancel out in one step:
    of two the rotation between them, in shares of the angle.
    """
    last = of[-1, 3:]
    # What turns the last one into each, in its own axes.
    w: Vector = of[:, 3:] @ last
    axes: Vector = last[0] * of[:, 4:] - of[:, 3:4] * last[1:] - _cross(last[1:], of[:, 4:])
    axes = np.where(w[:, None] >= 0, axes, -axes)
    sines: Vector = np.linalg.norm(axes, axis=1)
    angles = 2 * np.arctan2(sines, np.abs(w))
    turns = axes * np.divide(angles, sines, out=np.zeros_like(sines), where=sines > 0)[:, None]
    turn: Vector = weights @ turns
    angle = float(np.linalg.norm(turn))
    sine = np.sin(angle / 2) / angle if angle > 0 else 0.0
    w0, v0, w1, v1 = last[0], last[1:], np.cos(angle / 2), turn * sine
    turned = [w0 * w1 - v0 @ v1, *(w0 * v1 + w1 * v0 + np.cross(v0, v1))]
    return np.array([*(weights @ of[:, :3]), *turned])
