"""The maps that stand for numpy arrays, numpy scalars and JPEG frames inside a msgpack message.

A marker map has bytes keys (openpi, Positronic) or str keys (vLLM-Omni, vla-eval); ``binary`` says which.
Nothing of a marker is believed: dtype, shape and length of the data have to agree, or it is a BadMessage.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BadMessage, brief
from .limits import ImageBudget

#: A numpy array of any dtype and shape.
Array = NDArray[Any]
_MAX_DIMENSIONS = 8
_BYTE_ORDERS: tuple[Literal["<", ">"], ...] = ("<", ">")
#: Every dtype that crosses the wire, by the text that names it.
DTYPES = {
    dtype.newbyteorder(order).str: dtype.newbyteorder(order)
    for order in _BYTE_ORDERS
    for dtype in (np.dtype(code) for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
}
DTYPE_RULE = "only bool, int, uint and float of 1 to 8 bytes cross the wire, written like '|u1' or '<f4'"


def array_from(marker: dict[Any, Any], binary: bool) -> Array:
    """The array that ``__ndarray__`` stands for: a read-only view on its data, in its own byte order."""
    data, shape = _part(marker, "data", bytes, binary), _shape(_part(marker, "shape", list, binary))
    dtype = _dtype(_part(marker, "dtype", str, binary))
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(data):
        raise BadMessage(
            f"an array of shape {shape} and dtype {dtype.str} has {needed:,} bytes, and {len(data):,} came"
        )
    try:
        return np.ndarray(shape, dtype, data)
    except (ValueError, OverflowError) as error:  # an empty array may still claim an impossible axis
        raise BadMessage(f"an array of shape {shape} cannot be: {error}") from None


def scalar_from(marker: dict[Any, Any], binary: bool) -> Any:
    """The numpy scalar that ``__npgeneric__`` stands for."""
    dtype = _dtype(_part(marker, "dtype", str, binary))
    number: Any = marker.get(b"data" if binary else "data")
    if dtype.kind == "b":
        fits = type(number) is bool
    elif dtype.kind == "f":
        fits = type(number) in (float, int)
    else:
        bounds = np.iinfo(dtype)
        fits = type(number) is int and int(bounds.min) <= number <= int(bounds.max)
    if not fits:
        raise BadMessage(f"{brief(number, 40)} is not a number of dtype {dtype.str}")
    return dtype.type(number)


def jpeg_from(marker: dict[Any, Any], binary: bool, budget: ImageBudget) -> Array:
    """The RGB frames of Positronic's ``__jpeg__``: (h, w, 3) uint8, or (…, h, w, 3) for a batch."""
    from . import images

    frames: list[Any] = _part(marker, "frames", list, binary)
    if not all(type(frame) is bytes for frame in frames):
        raise BadMessage("the 'frames' of a __jpeg__ must be a list of JPEG bytes")
    decoded = [images.decode_image(frame, budget) for frame in frames]
    if len({frame.shape for frame in decoded}) > 1:
        raise BadMessage("the frames of a __jpeg__ differ in size: send one marker per size")
    if (b"shape" if binary else "shape") in marker:
        shape = _shape(_part(marker, "shape", list, binary))
    else:
        ndim = _part(marker, "ndim", int, binary)
        if (ndim, len(decoded)) != (3, 1) and (ndim != 4 or not decoded):
            raise BadMessage(f"a __jpeg__ of {len(decoded)} frames cannot have ndim {ndim}: one frame is 3, a batch 4")
        shape = (len(decoded), *decoded[0].shape)[4 - ndim :]
    array: Array = np.stack(decoded) if decoded else np.empty(0, np.uint8)
    if array.size != math.prod(shape) or (decoded and shape[-3:] != decoded[0].shape):
        raise BadMessage(f"the frames of a __jpeg__ are {array.shape}, which is not the shape {shape} it states")
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


def _part(marker: dict[Any, Any], name: str, kind: type, binary: bool) -> Any:
    part = marker.get(name.encode() if binary else name)
    if type(part) is not kind:
        held = "is missing" if part is None else f"is a {type(part).__name__}"
        raise BadMessage(f"an array marker needs '{name}' as {kind.__name__}, and it {held}")
    return part


def _dtype(text: str) -> np.dtype[Any]:
    dtype = DTYPES.get(text)
    if dtype is None:
        raise BadMessage(f"an array of dtype {text[:40]!r} is refused: {DTYPE_RULE}")
    return dtype


def _shape(axes: list[Any]) -> tuple[int, ...]:
    if len(axes) > _MAX_DIMENSIONS:
        raise BadMessage(f"an array of {len(axes)} dimensions is refused: {_MAX_DIMENSIONS} is the most")
    for axis in axes:
        if type(axis) is not int or axis < 0:
            raise BadMessage(f"an array's shape must be whole numbers from 0 up, and one is {brief(axis, 40)}")
    return tuple(axes)
