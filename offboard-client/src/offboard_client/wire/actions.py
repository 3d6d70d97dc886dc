"""The actions that the protocol names, and what may stand under each of them at either end of the wire (section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidAction

#: Name → (kind, unit). A second arm's name follows after a dot.
ACTIONS: dict[str, tuple[str, str]] = {
    "target_pose": ("absolute_pose", "m and unit quaternion w x y z, in the arm's base frame"),
    "target_joints": ("absolute_joints", "rad"),
    "joint_delta": ("joint_delta", "rad, added once to the joints measured when the row is executed"),
    "joint_velocity": ("joint_velocity", "rad/s"),
    "pose_delta": ("pose_delta", "m in base axes and unit quaternion w x y z, multiplied from the left"),
    "target_grip": ("grip", "0 open to 1 closed"),
}
POSES = frozenset({"target_pose", "pose_delta"})

#: How far from 1 the length of a quaternion may be: rounding to float16 stays below, a mix-up does not.
UNIT_TOLERANCE = 0.01
#: How far beyond 0 and 1 a gripper closure may be, as for observations (O-4).
GRIP_TOLERANCE = 0.05

#: Which of all bytes have the sign and most of the exponent (IEEE 754).
_TOPS = {
    np.dtype(f"{order}f{size}"): slice(size - 1 if order == "<" else 0, None, size) for order in "<>" for size in (4, 8)
}
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_TOPS32, _TOPS64 = _TOPS[_FLOAT32], _TOPS[_FLOAT64]
#: So many numbers are looked at byte by byte; of more, numpy's question is the quicker one.
_FEW = 4096

_SQUARES = ((1 - UNIT_TOLERANCE) ** 2, (1 + UNIT_TOLERANCE) ** 2)


def check_actions(columns: Mapping[str, NDArray[Any]]) -> None:
    """Raises InvalidAction where a name of the protocol holds what it cannot mean; other names pass.

    ``columns``: name → finite numbers (T, …).
    """
    for name, array in columns.items():
        known = name.partition(".")[0]
        if known not in ACTIONS or (array.ndim and not len(array)):
            continue
        if known in POSES:
            _shaped(name, array, 7, "x y z in m and a unit quaternion w x y z")
            _check_rotations(name, array[:, 3:])
        elif known == "target_grip":
            _shaped(name, array, 1, "how far the gripper is closed, 0 to 1")
            if not (array.min() >= -GRIP_TOLERANCE and array.max() <= 1 + GRIP_TOLERANCE):
                row = int(np.argmax(np.abs(array - 0.5)))
                raise InvalidAction(f"{name} of row {row} is {array[row, 0]:g}; 0 is open and 1 is closed")
        else:
            _shaped(name, array, None, f"one number per joint, in {ACTIONS[known][1].partition(',')[0]}")


def is_finite(array: NDArray[Any]) -> bool:
    """Whether no number of it is NaN or infinite."""
    dtype = array.dtype
    # numpy's dtypes are one object each mostly, and a hash of one is taken from many.
    tops = _TOPS32 if dtype is _FLOAT32 else _TOPS64 if dtype is _FLOAT64 else _TOPS.get(dtype)
    if tops is not None:
        if array.size <= _FEW:
            # What is not finite has an exponent of ones, so this byte is one of two, which else only what is absurdly
            # large has. numpy's own question takes many times as long where its code is cold, as it is once in an
            # exchange.
            found = array.tobytes()[tops]
            if 0x7F not in found and 0xFF not in found:
                return True
    elif dtype.kind != "f":
        return True
    # all() of so small an array takes twice as long as all the rest of this.
    return b"\0" not in np.isfinite(array).tobytes()


def check_times(times: NDArray[Any]) -> None:
    """Raises InvalidAction unless ``times``, one for each row, are finite seconds that grow from 0 up."""
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise InvalidAction(f"the timestamps have shape {times.shape} and dtype {times.dtype}; expected seconds (T,)")
    # Written so that what is not a number is none of it.
    if not len(times) or (times[0] >= 0 and times[-1] < np.inf and (times[1:] > times[:-1]).all()):
        return
    seconds: list[float] = times.tolist()
    before = -1.0
    for row, at in enumerate(seconds):
        if not (before < at < np.inf and at >= 0):
            raise InvalidAction(
                f"the timestamp of row {row} is {at:g}{f' after {before:g}' if row else ''}; timestamps are finite "
                "seconds that grow from row to row, from 0 up"
            )
        before = at


def _shaped(name: str, array: NDArray[Any], width: int | None, meaning: str) -> None:
    if array.ndim != 2 or (not array.shape[1] if width is None else array.shape[1] != width):
        raise InvalidAction(
            f"{name} has shape {array.shape[1:]} in each row; expected ({'n' if width is None else width},): {meaning}"
        )


def _check_rotations(name: str, quaternions: NDArray[Any]) -> None:
    # float64, and einsum, which squares what is absurdly large to infinity without a warning.
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", quaternions, quaternions, dtype=np.float64)
    low, high = _SQUARES
    if not (squares.min() >= low and squares.max() <= high):
        row = int(np.argmax(np.abs(squares - 1)))
        raise InvalidAction(
            f"the quaternion of {name} of row {row} (w x y z) has length {float(squares[row]) ** 0.5:.3f}; "
            "a rotation has length 1"
        )
