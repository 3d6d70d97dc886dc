"""libjpeg-turbo by simplejpeg (the extra ``images``), which says where a JPEG file is damaged.

Pillow reads the same pixels with the same library, but hears no warnings: what is missing of a file is grey then, and
what is of another size is a picture of something else.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError

#: What cameras put between the last pixels and the end of a file: padding, of which nothing is lost.
_PADDED, _PADDING = re.compile(r"\b(\d+) extraneous bytes before marker 0xd9"), 16
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


def jpeg_library() -> Any:
    """simplejpeg. Raises ConfigurationError where it is not installed."""
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        raise ConfigurationError(
            "images as JPEG need simplejpeg: pip install 'offboard-client[images]', or send them raw"
        ) from None


def undamaged(data: bytes, size: tuple[int, int], colours: str = "RGB") -> NDArray[np.uint8]:
    """The pixels of a JPEG file that is whole, (height, width, 3) uint8 RGB, or (height, width, 4) as ``CMYK``.

    ``size``: (width, height), as they have been allowed. Raises ValueError for one that is damaged or of another size.
    """
    library = jpeg_library()
    height, width, *_ = library.decode_jpeg_header(data)
    if (width, height) != size:
        raise ValueError(f"its header says {size[0]} x {size[1]} and {width} x {height}")
    try:
        return library.decode_jpeg(data, colours, strict=True)
    except ValueError as error:
        padded = _PADDED.search(str(error))
        if padded is None or int(padded[1]) > _PADDING:
            raise
    # The last warning is the one that is told: without the padding there must be none.
    end = data.index(_END, data.index(_SCAN))
    return library.decode_jpeg(data[: end - int(padded[1])] + data[end:], colours, strict=True)
