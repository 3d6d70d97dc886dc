"""What is seen of a robot's images before anything moves: a camera that is covered, off or opened twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .fit import Doubt

#: An image whose values differ by less shows nothing; of 255.
_FLAT = 8


@dataclass(frozen=True)
class Picture:
    """An image as it was observed.

    ``size``: width and height. ``mean``: of R, G and B; ``low``, ``high``: of all its values; 0 to 255.
    """

    name: str
    size: tuple[int, int]
    mean: tuple[int, int, int]
    low: int
    high: int


def pictures(observation: Mapping[str, Any]) -> list[Picture]:
    """Those of an observation that are RGB arrays of bytes, as the protocol has them."""
    found = list[Picture]()
    for name, image in _images(observation).items():
        height, width = image.shape[:2]
        red, green, blue = (round(float(value)) for value in image.mean(axis=(0, 1)))
        found.append(Picture(name, (width, height), (red, green, blue), int(image.min()), int(image.max())))
    return found


def suspicious(observation: Mapping[str, Any]) -> list[Doubt]:
    """Images that may show nothing, or what another one shows."""
    found = [
        Doubt(each.name, f"shows nothing: all of it is {each.low} to {each.high} of 255. Is it covered, dark, or off?")
        for each in pictures(observation)
        if each.high - each.low < _FLAT
    ]
    dark, shown = {each.name for each in found}, dict[tuple[Any, bytes], str]()
    for name, image in _images(observation).items():
        if name not in dark and (same := shown.setdefault((image.shape, image.tobytes()), name)) != name:
            found.append(Doubt(name, f"is the same picture as {same}: is one camera opened twice?"))
    return found


def _images(observation: Mapping[str, Any]) -> dict[str, NDArray[np.uint8]]:
    return {name: value for name, value in observation.items() if name.startswith("image.") and _is_rgb(value)}


def _is_rgb(value: Any) -> bool:
    if not isinstance(value, np.ndarray):
        return False
    array = cast("NDArray[Any]", value)
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0
