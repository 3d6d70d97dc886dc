"""What a pickle of LeRobot's client may hold."""

from __future__ import annotations

import enum
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadMessage, brief
from offboard_core.types import Array

_EXPECTED = "LeRobot's robot_client sends RemotePolicyConfig and TimedObservation, of numbers, texts and numpy arrays"


class Known(enum.Enum):
    """The names that a pickle may say."""

    CONFIG = "RemotePolicyConfig"
    OBSERVATION = "TimedObservation"
    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    RECONSTRUCT = "numpy's _reconstruct"
    FROM_BUFFER = "numpy's _frombuffer"
    SCALAR = "numpy's scalar"


class Instance:
    """An object of one of LeRobot's two classes. ``fields``: what it holds, by name; None until it was told."""

    __slots__ = ("fields", "known")

    def __init__(self, known: Known) -> None:
        self.known, self.fields = known, cast("dict[str, Any] | None", None)


class DType:
    """A dtype by its code; ``dtype`` once it was told its byte order."""

    __slots__ = ("code", "dtype")

    def __init__(self, code: str) -> None:
        self.code, self.dtype = code, cast("np.dtype[Any] | None", None)


class Made:
    """An array, once it was told what it holds."""

    __slots__ = ("array",)

    def __init__(self, array: Array | None = None) -> None:
        self.array = array


def plain(value: Any) -> Any:
    """A value of a pickle as one of Python's or numpy's. Raises BadMessage for what is no number, text or array."""
    if isinstance(value, Made):
        if value.array is None:
            raise bad("it has an array without data")
        return value.array
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise bad(f"it has {spoken(value)} where a number, a text or an array belongs")


def spoken(value: Any) -> str:
    """What a value of a pickle is, for an error; lists and maps are not looked into, for they may be deep."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return brief(value, 60)
    if isinstance(value, Known):
        return value.value
    if isinstance(value, Instance):
        return value.known.value
    names = {list: "a list", tuple: "a tuple", dict: "a map", memoryview: "bytes", DType: "a dtype", Made: "an array"}
    return names.get(cast("type[Any]", type(value)), "what is none of these")


def bad(why: str) -> BadMessage:
    """The error about a pickle."""
    return BadMessage(f"the pickle is not read: {why}. {_EXPECTED}")
