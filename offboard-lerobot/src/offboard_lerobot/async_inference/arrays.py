"""numpy's arrays and numbers as a pickle has them: checked before they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from offboard_core.types import Array

from .pickled import DType, Known, Made, bad, spoken

_MOST_AXES = 8
#: What an array may hold: numbers, each in so many bytes. No objects, no texts, no records, no times.
_DTYPES = frozenset({"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"})
_ORDERS = frozenset({"|", "<", ">", "="})


def _reconstruct(arguments: tuple[Any, ...]) -> Made:
    if len(arguments) != 3 or arguments[0] is not Known.NDARRAY or arguments[1] != (0,):
        raise bad("an array is made of something else than nothing")
    return Made()


def _dtype(arguments: tuple[Any, ...]) -> DType:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or code not in _DTYPES or arguments[1:] != (False, True):
        raise bad(f"an array holds {spoken(code)}, expected numbers ({', '.join(sorted(_DTYPES))})")
    return DType(code)


def ordered(code: str, state: tuple[Any, ...]) -> np.dtype[Any]:
    """The dtype that has this code, with the byte order that a pickle tells it. Raises BadMessage."""
    order = state[1] if len(state) > 1 else None
    if not isinstance(order, str) or order not in _ORDERS or state != (3, order, None, None, None, -1, -1, 0):
        raise bad("an array holds something else than plain numbers")
    return np.dtype(code if order == "|" else order + code)


def array_of(state: tuple[Any, ...]) -> Array:
    """The array that a pickle tells all this; a view of the pickle. Raises BadMessage."""
    if len(state) != 5 or state[0] != 1:
        raise bad("an array is not written as numpy writes one")
    _, shape, dtype, fortran, data = state
    return _array(data, dtype, shape, "F" if fortran is True else "C")


def _from_buffer(arguments: tuple[Any, ...]) -> Made:
    if len(arguments) < 4 or arguments[3] not in ("C", "F") or any(more is not None for more in arguments[4:]):
        raise bad("an array is not written as numpy writes one")
    return Made(_array(*arguments[:4]))


def _scalar(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) != 2:
        raise bad("a number is not written as numpy writes one")
    return _array(arguments[1], arguments[0], (1,), "C").item()


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    """Whatever these hold."""
    kind = dtype.dtype if isinstance(dtype, DType) else None
    if kind is None or not isinstance(data, memoryview) or not isinstance(shape, tuple):
        raise bad("an array is not written as numpy writes one")
    numbers, sizes = cast("memoryview[int]", data), cast("tuple[int, ...]", shape)
    if len(sizes) > _MOST_AXES or not all(type(size) is int and 0 < size <= len(numbers) for size in sizes):
        raise bad("an array has a shape that is none, or holds nothing")
    if math.prod(sizes) * kind.itemsize != len(numbers):
        raise bad(f"an array of the shape {sizes} has {len(numbers):,} bytes")
    array: Array = np.frombuffer(numbers, kind).reshape(sizes, order=order)
    return array if kind.isnative else array.astype(kind.newbyteorder("="))


#: What a pickle may call.
CALLS: Mapping[Known, Callable[[tuple[Any, ...]], Any]] = {
    Known.RECONSTRUCT: _reconstruct,
    Known.DTYPE: _dtype,
    Known.FROM_BUFFER: _from_buffer,
    Known.SCALAR: _scalar,
}
