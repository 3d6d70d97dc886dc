"""JPEG and PNG, decoded and encoded (the extra ``images``), and scaling before an image is sent.

A header is read and judged before anything is decoded: a JPEG of 634 bytes can claim 30000 by 30000 pixels. What
is not needed for the pixels never reaches a decoder.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadMessage, ConfigurationError
from .image_files import essence
from .limits import ImageBudget
from .turbo import undamaged

if TYPE_CHECKING:
    from PIL import Image

#: (h, w, 3) uint8, RGB.
ImageArray = NDArray[np.uint8]
#: Pixels along one side, and in all, of an image that is decoded.
MAX_SIDE = 8192
MAX_PIXELS = 16 * 2**20
_FORMATS = ("JPEG", "PNG")
# Pillow's modes that hold eight bits per channel, or fewer, without loss in RGB.
_EIGHT_BIT = {"1", "L", "P", "RGB", "CMYK"}
_ALPHA = {"LA", "PA", "RGBA", "La", "RGBa"}


def image_size(data: bytes) -> tuple[int, int]:
    """(width, height) as the header of a JPEG or PNG states it, within the limits. Raises BadMessage."""
    with _open(essence(data)) as image:
        return image.size


def decode_image(data: bytes, budget: ImageBudget | None = None) -> ImageArray:
    """A JPEG or PNG as (h, w, 3) uint8 RGB, read-only. Grey, palette and CMYK images are converted.

    Pixels come as they are stored: an EXIF orientation is not applied. ``budget``: of the message it came in.

    Raises BadMessage for anything else: another format, an alpha channel (what lies beneath is nobody's
    choice), 16 bits per channel, more than 8192 pixels a side or 16 Mi in all, more than 32 scans, or a file that is
    damaged: cut short, filled up, or of another size than it says. Where wrong bits are a valid file nobody can tell.
    """
    if budget is not None:
        budget.open()
    data = essence(data)
    with _open(data) as image:
        if budget is not None:
            budget.take(*image.size)
        if image.mode in _ALPHA or "transparency" in image.info:
            raise BadMessage(f"the image has an alpha channel (mode {image.mode}): send it as RGB")
        # Pillow opens a PNG of 16-bit RGB as mode RGB; its header says so in one byte.
        if image.mode not in _EIGHT_BIT or (image.format == "PNG" and data[24:25] == b"\x10"):
            raise BadMessage(f"the image (mode {image.mode}) has not 8 bits per channel: send it as 8-bit RGB or grey")
        try:
            array = _pixels(image, data)
        except ConfigurationError:
            raise
        # Decoders report damage through whatever their parsers raise.
        except Exception as error:
            raise BadMessage(
                f"the image cannot be decoded ({error}): it is damaged, cut short or coded in a rare way"
            ) from None
    array.flags.writeable = False
    return array


def _pixels(image: Image.Image, data: bytes) -> ImageArray:
    if image.format == "JPEG":
        if image.mode != "CMYK":
            return undamaged(data, image.size)
        undamaged(data, image.size, "CMYK")  # there are several ways from there to RGB, and Pillow has its own
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def encode_image(array: NDArray[Any], quality: int = 90) -> bytes:
    """(h, w, 3) uint8 RGB as JPEG. ``quality``: 1 to 95. Raises BadMessage for any other array."""
    if not 1 <= quality <= 95:
        raise ValueError(f"quality must be from 1 to 95, and is {quality}")
    out = io.BytesIO()
    _pillow().fromarray(_rgb(array)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def shrink(image: NDArray[Any], max_w: int, max_h: int) -> ImageArray:
    """``image`` (h, w, 3) uint8 within ``max_w`` by ``max_h`` pixels, its aspect kept; never made larger.

    Bilinear, to ``(int(w * scale), int(h * scale))``: what Positronic's clients do, so that a model sees
    the same pixels from either client.
    """
    rgb = _rgb(image)
    height, width = rgb.shape[:2]
    scale = min(max_w / width, max_h / height)
    if scale >= 1.0:
        return rgb
    pillow = _pillow()
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(pillow.fromarray(rgb).resize(size, pillow.Resampling.BILINEAR))


def letterbox(image: NDArray[Any], width: int, height: int) -> ImageArray:
    """``image`` (h, w, 3) uint8 as (height, width, 3) uint8: scaled up or down to fit, centred on black.

    An image of the right size is returned as it is. Pillow's bilinear filter; the scaled size is cut to whole
    pixels, the bars are halved to whole pixels: what Positronic and openpi do, so that a model trained there
    sees the same pixels here.
    """
    rgb = _rgb(image)
    h, w = rgb.shape[:2]
    if (h, w) == (height, width):
        return rgb
    pillow = _pillow()
    ratio = max(w / width, h / height)
    # A sliver of an image may be less than a pixel wide; it is still there.
    size = max(1, int(w / ratio)), max(1, int(h / ratio))
    scaled = np.asarray(pillow.fromarray(rgb).resize(size, pillow.Resampling.BILINEAR))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = scaled
    return canvas


def _rgb(array: NDArray[Any]) -> ImageArray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise BadMessage(f"an image is (h, w, 3) uint8 RGB, and this is {array.shape} {array.dtype}")
    return array


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise ConfigurationError("images need Pillow: pip install 'offboard-client[images]'") from None
    return Image


def _open(data: bytes) -> Image.Image:
    pillow = _pillow()
    try:
        # Opening reads the header alone. Pillow's own check would warn about what is refused below.
        image: Image.Image = pillow.open(io.BytesIO(data), formats=_FORMATS)
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
        raise BadMessage(_too_large("")) from None
    except Exception as error:
        raise BadMessage(f"{len(data):,} bytes are not a JPEG or PNG image ({type(error).__name__})") from None
    width, height = image.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise BadMessage(_too_large(f" and this one states {width} x {height}"))
    return image


def _too_large(found: str) -> str:
    return f"an image may have {MAX_SIDE} pixels a side and {MAX_PIXELS:,} in all{found}: shrink it before sending"
