"""Taking names out of an observation, with errors that help."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, nearest

from ..types import Array, Observation


def require(observation: Observation, name: str) -> Any:
    """The value of a name. Raises BadObservation with what is there instead."""
    if name in observation:
        return observation[name]
    near = nearest(name, observation)
    raise BadObservation(
        f"the observation lacks {name!r}; it holds {', '.join(sorted(observation)) or 'nothing'}"
        + (f" (is {' or '.join(near)} what was meant? --codec.map can rename it)" if near else "")
    )


def vector(observation: Observation, name: str, width: int) -> Array:
    """The numbers of a name as (width,) float32; -1 takes any width, a scalar counts as one number.

    Raises BadObservation: missing, not numbers, another shape, NaN or infinite.
    """
    value = require(observation, name)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise BadObservation(f"{name} holds {type(value).__name__} of {array.dtype}, expected real numbers")
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != 1 or (width >= 0 and len(array) != width):
        expected = f"({width},)" if width >= 0 else "(n,)"
        raise BadObservation(f"{name} has the shape {np.shape(value)}, expected {expected}")
    # A float64 that float32 cannot hold becomes infinite, and is found by the check.
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        said = "too large for float32" if np.isfinite(array).all() else "not finite"
        raise BadObservation(f"{name} is {said}: {array.tolist()}")
    return single


def image(observation: Observation, name: str) -> Array:
    """The image of a name, (h, w, 3) uint8 RGB. Raises BadObservation for anything else."""
    value = require(observation, name)
    if not isinstance(value, np.ndarray):
        raise BadObservation(f"{name} is a {type(value).__name__}, expected an image: (h, w, 3) uint8 RGB")
    array = cast("Array", value)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise BadObservation(
            f"{name} has the shape {array.shape} and dtype {array.dtype}, expected (h, w, 3) uint8 RGB"
        )
    return array
