"""The codec that changes nothing: a model's own names go in, its own action vectors come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation
from offboard_client.wire import is_finite

from ..types import Array, Checkpoint, Chunk, Codec, CodecMeta, Field, Observation, fits
from ._read import require
from .names import Rename, resolve_names
from .state import check_canonical, has_meaning
from .timing import rate, timed

_ARRAY: Any = np.ndarray  # for type checkers an array of they do not know what, which only a call of cast would say
#: A name with what there is of its value beside numbers and letters: an array's dtype and shape, else its type.
_Form = tuple[Any, ...]
#: Forms that one codec remembers.
_FORMS = 64


@dataclass(frozen=True, kw_only=True)
class NativeOptions:
    """The options of ``core.native``."""

    fps: float | None = None
    """Steps per second; null: nothing says it, and rows carry no timestamps."""
    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's name → the model's name for it (image.exterior=front)."""

    def __post_init__(self) -> None:
        if self.fps is not None:
            rate(self.fps)


@dataclass(frozen=True, kw_only=True)
class Native(Codec):
    """Lets everything through; where the checkpoint declares ``inputs``, they must be there and fit."""

    blocking = False

    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]
    _seen: dict[_Form, bool] = field(default_factory=dict["_Form", bool], init=False, repr=False, compare=False)
    """Forms of values that were taken as they are; whether the numbers of another one have to be looked at."""

    @property
    def meta(self) -> CodecMeta:
        """What the checkpoint declares."""
        action = {name: _as_vector(declared) for name, declared in self.outputs.items()}
        return CodecMeta(observation=self.inputs, action=action)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`. Names that nobody declared pass through."""
        found, seen = dict(observation), self._seen
        for name, declared in self.inputs.items():
            if name not in found:
                if declared.required:
                    require(found, name)  # which says that it is not there
                continue
            value = found[name]
            form: _Form = (name, value.dtype, value.shape) if isinstance(value, _ARRAY) else (name, value.__class__)
            numbers = seen.get(form)
            if numbers is None:
                found[name] = self._first(form, value, declared)
            elif numbers and not is_finite(value):
                raise _not_finite(name)
        return found

    def _first(self, form: _Form, value: Any, declared: Field) -> Any:
        """The first value of a form, checked. Where that says all of its likes, they are not checked again."""
        name = form[0]
        checked = _checked(name, value, declared)
        if checked is value and not has_meaning(name):
            if len(self._seen) >= _FORMS:
                self._seen.clear()
            self._seen[form] = declared.dtype is not None and isinstance(value, _ARRAY) and value.dtype.kind == "f"
        return checked

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return chunk


def make(options: NativeOptions, checkpoint: Checkpoint) -> Codec:
    """Native for one checkpoint. Raises BadParameter or ConfigurationError for a map that does not fit its inputs."""
    codec: Codec = Native(inputs=checkpoint.inputs, outputs=checkpoint.outputs)
    if options.map:
        codec = Rename(resolve_names(options.map, checkpoint.inputs)) | codec
    return timed(codec, options.fps)


@lru_cache
def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(name)


def _as_vector(declared: Field) -> Field:
    return declared if declared.kind else Field(shape=declared.shape, unit=declared.unit, kind="vector")


def _checked(name: str, value: Any, declared: Field) -> Any:
    """``value`` in the declared dtype. Raises BadObservation if that or the shape cannot be."""
    if declared.dtype == "str":
        if not isinstance(value, str):
            raise BadObservation(f"{name} is a {type(value).__name__}, the model expects text")
        return value
    if declared.shape is None and declared.dtype is None:
        return value
    try:
        array: Array = value if isinstance(value, _ARRAY) else np.asarray(value)
    except ValueError as error:
        raise BadObservation(f"{name} is not an array: {error}") from None
    shape, kind = declared.shape, array.dtype.kind
    if shape == (1,) and array.ndim == 0:
        array = array[None]
    if shape is not None and not fits(array.shape, shape):
        raise BadObservation(f"{name} has the shape {array.shape}, the model expects {shape} (-1: any)")
    if kind in "iuf":
        check_canonical(name, array)
    if declared.dtype is None or (kind == "u" and array.dtype == _dtype(declared.dtype)):
        return array
    if array.dtype != _dtype(declared.dtype):
        # Robots send float64 and JSON makes int64: that is no mistake. A float image would be one.
        if kind not in "biuf" or not np.can_cast(array.dtype, declared.dtype, "same_kind"):
            raise BadObservation(f"{name} has the dtype {array.dtype}, the model expects {declared.dtype}")
        with np.errstate(over="ignore"):
            array = array.astype(declared.dtype)
    if not is_finite(array):
        raise _not_finite(name)
    return array


def _not_finite(name: str) -> BadObservation:
    return BadObservation(f"{name} holds numbers that are not finite")
