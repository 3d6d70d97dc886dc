"""What others' code says of an episode, as what it is: a text is no number, and NaN is no success."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import RobotFailed, brief


def truth(value: Any, what: str) -> bool:
    """``value`` as a bool: a bool, or a number that is 0 or 1; numpy's, too. Raises RobotFailed for anything else."""
    found = _scalar(value)
    if found is None or found not in (0, 1):
        raise RobotFailed(f"{what} is {brief(value)}; expected true or false: a bool, or a number that is 0 or 1")
    return bool(found)


def number(value: Any, what: str) -> float:
    """``value`` as a finite float: a number, or numpy's. Raises RobotFailed for anything else."""
    found = _scalar(value)
    if found is None or not math.isfinite(found):
        raise RobotFailed(f"{what} is {brief(value)}; expected a finite number")
    return float(found)


def _scalar(value: Any) -> float | None:
    try:
        array = np.asarray(value)
        return float(array) if array.shape == () and array.dtype.kind in "biuf" else None
    except Exception:  # an object of another library that does not let itself be read
        return None
