"""JPEG for a slow link: made by simplejpeg (the extra ``images``), and which images may travel so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .images import MAX_PIXELS, MAX_SIDE
from .turbo import jpeg_library

#: Of a JPEG's quality: what is chosen without a word, and what may be.
QUALITY, QUALITIES = 90, range(1, 101)


def is_image_name(name: str) -> bool:
    """Whether bytes under this name are a JPEG or PNG file, whatever the handshake declares (E-5)."""
    return name.startswith(("image.", "observation.images.")) or name.endswith("_image")


def is_compressible(name: str, value: Any, declared: Mapping[str, Any]) -> bool:
    """Whether a value is an image that a server reads as a JPEG file, too. ``declared``: in the handshake, of it."""
    if not isinstance(value, np.ndarray):
        return False
    array = cast("NDArray[Any]", value)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        return False
    shape = declared.get("shape")
    if not is_image_name(name) and not (declared.get("dtype") == "uint8" and shape is not None and len(shape) == 3):
        return False
    return max(array.shape[:2]) <= MAX_SIDE and array.shape[0] * array.shape[1] <= MAX_PIXELS


def to_jpeg(image: NDArray[Any], quality: int = QUALITY) -> bytes:
    """(h, w, 3) uint8 RGB as a JPEG file, its colours as fine as its light (4:4:4)."""
    return jpeg_library().encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="444")


def from_jpeg(data: bytes) -> NDArray[np.uint8]:
    """What :func:`to_jpeg` made, for whoever measures it: nothing of the file is checked."""
    return jpeg_library().decode_jpeg(data)
