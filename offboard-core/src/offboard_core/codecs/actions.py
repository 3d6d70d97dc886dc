"""A model's action vector as the actions a robot knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction
from offboard_client.wire import ACTIONS, POSES, WIDTHS, Rotation, convert_pose

from ..types import Array, Chunk, Codec, CodecMeta, Feature, Field, Observation
from ._read import vector
from .grip import binarize
from .state import CONVENTIONS


def action_field(name: str, width: int) -> Field:
    """What an action of the protocol holds. Raises KeyError for a name that is none."""
    kind, unit = ACTIONS[name.partition(".")[0]]
    return Field(shape=(width,), unit=unit, kind=kind)


def action_shape(name: str) -> tuple[int, ...]:
    """The shape of one step of an action of the protocol; -1 for any number of joints."""
    return (7,) if _is_pose(name) else (1,) if _is_grip(name) else (-1,)


@dataclass(frozen=True, kw_only=True)
class ActionSplit(Codec):
    """Splits the model's vector ``name``, (T, D), into the actions ``parts`` (action name → width), in order.

    A pose in the vector is 3 + N numbers with its rotation as ``rotation``; it leaves as x y z and a normalised
    quaternion w x y z, (T, 7) float64. ``binarize_grip``: closures leave as 0 or 1.
    ``labels``: action name → the recorded name that training takes it from, to which the same binarisation is
    applied; without it the codec makes no training column.
    Raises InvalidAction: another name or width, numbers that are not finite, a quaternion of almost no length.
    """

    blocking = False

    parts: Mapping[str, int]
    name: str = "action"
    rotation: Rotation = "quat"
    binarize_grip: bool = False
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def meta(self) -> CodecMeta:
        """Makes each part; poses have 7 numbers whatever the model's representation is."""
        action = {name: action_field(name, 7 if _is_pose(name) else width) for name, width in self.parts.items()}
        return CodecMeta(action=action, conventions=CONVENTIONS)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        expected = ", ".join(f"{name} {width}" for name, width in self.parts.items())
        rows = _rows(chunk, self.name, sum(self.parts.values()), expected)
        return Chunk({name: self._part(name, part) for name, part in self._split(rows)}, chunk.timestamp)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        if self.one_way is not None:
            return super().encode_actions(chunk, observation)
        rows = np.concatenate([self._part_back(chunk, name) for name in self.parts], axis=1)
        return Chunk({self.name: rows}, chunk.timestamp)

    @property
    def one_way(self) -> str | None:
        """A grip that was binarised does not say what the model answered."""
        binarized = self.binarize_grip and any(map(_is_grip, self.parts))
        return "the grip leaves as 0 or 1, and the model's own number is not known any more" if binarized else None

    def _part_back(self, chunk: Chunk, name: str) -> Array:
        if not _is_pose(name):
            return _actions(chunk, name, self.parts[name])
        try:
            return convert_pose(_actions(chunk, name, 7), "quat", self.rotation)
        except ValueError as error:
            raise BadObservation(f"the actions hold a {name} that is no pose: {error}") from None

    def _split(self, rows: Array) -> list[tuple[str, Array]]:
        ends = np.cumsum(list(self.parts.values()))
        return list(zip(self.parts, np.split(rows, ends[:-1], axis=-1), strict=True))

    def _part(self, name: str, rows: Array) -> Array:
        if _is_pose(name):
            try:
                return convert_pose(rows, self.rotation, "quat")
            except ValueError as error:
                raise InvalidAction(f"the model answered a {name} that is no pose: {error}") from None
        return binarize(rows) if self.binarize_grip and _is_grip(name) else rows

    @property
    def features(self) -> Mapping[str, Feature]:
        """One vector column, if ``labels`` say what it is made of."""
        if not self.labels:
            return {}
        return {self.name: Feature(shape=(sum(self.parts.values()),), dtype="float32", names=("actions",))}

    @property
    def trained_on(self) -> frozenset[str]:
        """What ``labels`` say that it is made of."""
        return frozenset(self.labels[name] for name in self.parts) if self.labels else frozenset()

    def label(self, frame: Observation) -> dict[str, Any]:
        """The vector that the model should have answered to this frame."""
        if not self.labels:
            return {}
        return {self.name: np.concatenate([self._target(frame, name) for name in self.parts])}

    def _target(self, frame: Observation, name: str) -> Array:
        if _is_pose(name):
            pose = vector(frame, self.labels[name], 7)
            if self.rotation == "quat":
                return pose
            return convert_pose(pose, "quat", self.rotation).astype(np.float32)
        value = vector(frame, self.labels[name], self.parts[name])
        return binarize(value) if self.binarize_grip and _is_grip(name) else value


@dataclass(frozen=True, kw_only=True)
class ActionVector(Codec):
    """Hands the model's own vector ``name``, (T, ``width``), to the robot as it is. Raises InvalidAction."""

    blocking = False

    width: int
    name: str = "action"

    @property
    def meta(self) -> CodecMeta:
        """Makes one vector that says nothing about its parts."""
        return CodecMeta(action={self.name: Field(shape=(self.width,), kind="vector")})

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        _rows(chunk, self.name, self.width, f"{self.width} numbers per step")
        return chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return Chunk({self.name: _actions(chunk, self.name, self.width)}, chunk.timestamp)


def _rows(chunk: Chunk, name: str, width: int, expected: str) -> Array:
    columns = chunk.columns()
    if name not in columns:
        raise InvalidAction(f"the model answered {', '.join(columns)}, the codec expects {name!r}")
    rows = columns[name]
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InvalidAction(f"the model answered {name} {rows.shape}, the codec expects (T, {width}): {expected}")
    if rows.dtype.kind not in "iuf" or not np.isfinite(rows).all():
        raise InvalidAction(f"the model answered {name} with numbers that are not finite")
    return rows


def _actions(chunk: Chunk, name: str, width: int) -> Array:
    """A robot's actions of one name. Raises BadObservation for another name or width."""
    columns = chunk.columns()
    if name not in columns or columns[name].shape[1:] != (width,):
        found = ", ".join(f"{n} {column.shape}" for n, column in columns.items())
        raise BadObservation(f"the actions hold {found or 'nothing'}, expected {name} (T, {width})")
    return columns[name]


def pose_width(rotation: Rotation) -> int:
    """Numbers of a pose whose rotation is written so."""
    return 3 + WIDTHS[rotation]


def _is_pose(name: str) -> bool:
    return name.partition(".")[0] in POSES


def _is_grip(name: str) -> bool:
    return name.partition(".")[0] == "target_grip"
