"""What the numbers of a stock openpi server are: its keys made of a robot's names, and actions of its columns.

openpi's protocol says neither, so whoever drives its server does. What openpi lets through (six joints for seven, NaN)
is refused here, since it answers those with numbers that look like actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from ..errors import BadMessage, BadObservation, InvalidAction, brief
from ..wire import (
    ACTIONS,
    POSES,
    Array,
    Rotation,
    canonical,
    convert_pose,
    decode_image,
    is_finite,
    letterbox,
    measured_unit,
)

#: What separates a key from that of the map in which it is sent.
WITHIN = ":"
_BINARY = 0.5


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some numbers of a vector, one after the other: what the protocol calls them, and how the server writes them.

    ``width``: how many the server has. ``rotation``: of a pose, whose rotation the server writes so. ``scale``,
    ``offset``: by what the numbers are multiplied on their way, and what is added then.

    Of an action: ``clip``: the server's numbers are cut to what lies between minus this and this, as the controllers do
    that its data were recorded with; ``far``: beyond this they are no such numbers at all. ``binary``: what is played
    is 0 or 1, whichever is nearer.
    """

    name: str
    width: int
    rotation: Rotation | None = None
    scale: float | tuple[float, ...] = 1.0
    offset: float | tuple[float, ...] = 0.0
    clip: float | None = None
    far: float = math.inf
    binary: bool = False

    @property
    def observed(self) -> int:
        """How many numbers the robot has of it."""
        return 7 if self.rotation is not None else 1 if self.name.partition(".")[0] == "grip" else self.width

    def encode(self, value: Any) -> Array:
        """The server's numbers, of what a robot measured. Raises BadObservation."""
        try:
            given = np.asarray(value, np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise BadObservation(f"{self.name} is {brief(value)}; expected {self.observed} numbers") from None
        if len(given) != self.observed or not is_finite(given):
            raise BadObservation(f"{self.name} is {brief(given.tolist())}; expected {self.observed} finite numbers")
        if self.rotation is not None:
            try:
                given = convert_pose(given, "quat", self.rotation)
            except ValueError as error:
                raise BadObservation(f"{self.name} is no pose: {error}") from None
        return given * self.scale + self.offset

    def decode(self, numbers: Array) -> Array:
        """The action (T, …), of the server's finite numbers (T, ``width``). Raises InvalidAction."""
        largest = float(np.abs(numbers).max())
        if largest > self.far:
            raise InvalidAction(
                f"the server answered {largest:.3g} for {self.name}, where it has -1 to 1: is this the layout of its "
                "policy?"
            )
        if self.clip is not None:
            numbers = np.clip(numbers, -self.clip, self.clip)
        found = numbers * self.scale + self.offset
        if self.binary:
            return (found > _BINARY).astype(np.float64)
        if self.rotation is None:
            return found
        try:
            return convert_pose(found, self.rotation, "quat")
        except ValueError as error:
            raise InvalidAction(f"the server answered a {self.name} that is no pose: {error}") from None


@dataclass(frozen=True)
class Picture:
    """An image of a robot's camera. ``required``: without it the server infers nothing."""

    name: str
    required: bool = True


@dataclass(frozen=True)
class Instruction:
    """The instruction, a text."""


Source = tuple[Part, ...] | Picture | Instruction


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One server's keys and columns.

    ``keys``: what is sent under the server's key, or under ``MAP:KEY`` in a map of that name. ``actions``: the columns
    of what it answers, in order. ``fps``: how many of its steps are played per second. ``steps``: how many of a chunk
    are; None: all. ``channels_first``, ``mirrored``: how it wants images: (3, h, w), and right and left exchanged.
    ``resize``: (w, h) of the images that are sent, as openpi's own client tools make them; None: as they are.
    """

    keys: Mapping[str, Source]
    actions: tuple[Part, ...]
    fps: float
    steps: int | None = None
    channels_first: bool = False
    mirrored: bool = False
    resize: tuple[int, int] | None = None
    conventions: Mapping[str, str] = field(default_factory=dict[str, str])

    def meta(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """What a handshake says of this; ``said``: the server's own metadata, as it came."""
        horizon = {} if self.steps is None else {"action_horizon_sec": self.steps / self.fps}
        return {
            "type": "openpi",
            "observation": self.observation,
            "action": dict(map(_action_field, self.actions)),
            "action_fps": self.fps,
            **horizon,
            "conventions": dict(self.conventions),
            "openpi": _plain(said),
        }

    @cached_property
    def observation(self) -> dict[str, Any]:
        """What is read of a robot, as a handshake says it."""
        fields = dict[str, Any]()
        for source in self.keys.values():
            if isinstance(source, Instruction):
                fields["task"] = {"shape": [], "dtype": "str"}
            elif isinstance(source, Picture):
                fields[source.name] = {
                    "shape": [-1, -1, 3], "dtype": "uint8", "unit": "RGB", "required": source.required,
                }  # fmt: skip
            else:
                for part in source:
                    unit = measured_unit(part.name)
                    fields[part.name] = {"shape": [part.observed], "dtype": "float32"} | (
                        {"unit": unit} if unit else {}
                    )
        return fields

    def encode(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """What the server is sent. Raises BadObservation."""
        given, made = canonical(observation, self.observation), dict[str, Any]()
        for key, source in self.keys.items():
            if isinstance(source, Picture) and not source.required and given.get(source.name) is None:
                continue
            within, separator, name = key.partition(WITHIN)
            into = made.setdefault(within, {}) if separator else made
            into[name if separator else key] = self._encode(source, given)
        return made

    def decode(self, rows: Any) -> dict[str, Array]:
        """The actions by their names, (T, …) each, of what the server answered. Raises InvalidAction."""
        width = sum(part.width for part in self.actions)
        array = cast("Array", rows) if isinstance(rows, np.ndarray) else None
        if array is None or array.ndim != 2 or array.shape[1] != width or not len(array):
            found = brief(rows) if array is None else f"an array {array.shape}"
            raise InvalidAction(
                f"the server answered {found} as actions; expected one step or more of {width} numbers: "
                + ", ".join(f"{part.name} {part.width}" for part in self.actions)
            )
        if array.dtype.kind not in "fiu" or not is_finite(array):
            raise InvalidAction("the server answered actions that are not all finite numbers: nothing of it is played")
        played = np.asarray(array[: self.steps], np.float64)
        parts = np.split(played, np.cumsum([part.width for part in self.actions])[:-1], axis=1)
        return {part.name: part.decode(numbers) for part, numbers in zip(self.actions, parts, strict=True)}

    def _encode(self, source: Source, given: Mapping[str, Any]) -> Any:
        if isinstance(source, Instruction):
            return _instruction(given.get("task"))
        if isinstance(source, Picture):
            return self._image(source.name, given.get(source.name))
        with np.errstate(over="ignore"):
            vector = np.concatenate([part.encode(given.get(part.name)) for part in source]).astype(np.float32)
        if not is_finite(vector):
            names = ", ".join(part.name for part in source)
            raise BadObservation(f"{names} hold a number that is too large to be sent as float32")
        return vector

    def _image(self, name: str, value: Any) -> Array:
        try:
            image = decode_image(value) if isinstance(value, bytes) else value
        except BadMessage as error:
            raise BadObservation(f"{name}: {error.text}") from None
        array = cast("Array", image) if isinstance(image, np.ndarray) else None
        if array is None or array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            found = brief(value) if array is None else f"{array.shape} {array.dtype}"
            raise BadObservation(f"{name} is {found}; expected an image (h, w, 3) uint8 RGB")
        made = array if self.resize is None else letterbox(array, *self.resize)
        made = made[:, ::-1] if self.mirrored else made
        return made.transpose(2, 0, 1) if self.channels_first else made


def _instruction(task: Any) -> str:
    if not isinstance(task, str) or not task.strip():
        raise BadObservation(f"task is {brief(task)}; expected the instruction as text: openpi's policies need one")
    return task


def _action_field(part: Part) -> tuple[str, dict[str, Any]]:
    if part.name.partition(".")[0] not in ACTIONS:
        return part.name, {"shape": [part.width], "kind": "vector"}
    kind, unit = ACTIONS[part.name.partition(".")[0]]
    shape = [7 if part.name.partition(".")[0] in POSES else part.width]
    return part.name, {"shape": shape, "kind": kind, "unit": unit}


def _plain(value: Any) -> Any:
    """Arrays as lists; what is odd about the rest is refused with the handshake."""
    if isinstance(value, np.ndarray | np.generic):
        return cast("Array", value).tolist()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in cast("dict[Any, Any]", value).items()}
    return list(map(_plain, cast("list[Any]", value))) if isinstance(value, list) else value
