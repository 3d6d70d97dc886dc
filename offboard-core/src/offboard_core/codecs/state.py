"""The robot's state as one vector, and its instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation
from offboard_client.wire import UNIT_TOLERANCE, WIDTHS, Rotation, convert_pose, measured_unit

from ..types import Array, Codec, CodecMeta, Feature, Field, Observation
from ._read import vector
from .grip import binarize, check_grip, is_grip

#: How the canonical names are meant; part of the meta of every codec that reads or makes one of them.
CONVENTIONS = {
    "quaternion": "w x y z",
    "frame": "arm base",
    "grip": "0 open, 1 closed",
}


def canonical_field(name: str, width: int) -> Field:
    """What a canonical name holds: ``width`` numbers in its unit. Others have no unit that is known here."""
    return Field(shape=(width,), dtype="float32", unit=measured_unit(name))


@lru_cache(maxsize=256)
def _kind(name: str) -> str:
    """``ee_pose`` of ``robot_state.ee_pose`` and of ``robot_state.left.ee_pose``; ``grip`` of ``grip.left``."""
    return "grip" if is_grip(name) else name.rpartition(".")[2] if name.startswith("robot_state.") else ""


def canonical_shape(name: str) -> tuple[int, ...] | None:
    """The shape that an observed name of the protocol has, -1 for a free axis; None for other names."""
    if name.startswith("image."):
        return (-1, -1, 3)
    return {"ee_pose": (7,), "q": (-1,), "dq": (-1,), "grip": (1,)}.get(_kind(name))


def has_meaning(name: str) -> bool:
    """Whether :func:`check_canonical` looks at the numbers under this name."""
    return _kind(name) in ("grip", "ee_pose")


def check_canonical(name: str, value: Array) -> None:
    """Raises BadObservation for finite numbers under a canonical name that cannot be what it means; others pass.

    A closure outside its range; a pose whose quaternion is no rotation, as of an estimator that has not begun.
    """
    kind = _kind(name)
    if kind == "grip":
        check_grip(name, value)
    elif kind == "ee_pose" and value.shape == (7,):
        length = float(np.linalg.norm(value[3:].astype(np.float64)))
        if not abs(length - 1) <= UNIT_TOLERANCE:
            raise BadObservation(
                f"the quaternion of {name} (w x y z) has length {length:.3g}, and a rotation has length 1: "
                f"{value.tolist()}; it is x y z in m, then the quaternion"
            )


@dataclass(frozen=True, kw_only=True)
class StateVector(Codec):
    """Makes ``name``, one (D,) float32 vector, of the robot's ``parts`` (name → width) in their order.

    Each part must be there, finite and exactly as wide; a closure must lie in its range, and a pose's quaternion have
    length 1. ``rotation``: how the rotation of an end-effector pose enters the vector; as observed (``quat``) it is
    not touched. ``binarize_grip``: closures enter as 0 or 1, for checkpoints that were trained so. Training rows
    hold the same vector: what is done to the state is done in both places.
    """

    blocking = False

    name: str
    parts: Mapping[str, int]
    rotation: Rotation = "quat"
    binarize_grip: bool = False

    @property
    def meta(self) -> CodecMeta:
        """Reads each part."""
        return CodecMeta(
            observation={name: canonical_field(name, width) for name, width in self.parts.items()},
            conventions=CONVENTIONS if any(map(_kind, self.parts)) else {},
        )

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        parts = [self._part(name, vector(observation, name, width)) for name, width in self.parts.items()]
        return {self.name: np.concatenate(parts)}

    def _part(self, name: str, value: Array) -> Array:
        check_canonical(name, value)
        if is_grip(name):
            return binarize(value) if self.binarize_grip else value
        if _kind(name) == "ee_pose" and self.rotation != "quat":
            return convert_pose(value, "quat", self.rotation).astype(np.float32)
        return value

    @property
    def features(self) -> Mapping[str, Feature]:
        """One vector column, named by its parts."""
        grown = WIDTHS[self.rotation] - WIDTHS["quat"]
        width = sum(w + grown * (_kind(name) == "ee_pose") for name, w in self.parts.items())
        return {self.name: Feature(shape=(width,), dtype="float32", names=tuple(self.parts))}

    @property
    def trained_on(self) -> frozenset[str]:
        """Each part."""
        return frozenset(self.parts)

    def label(self, frame: Observation) -> dict[str, Any]:
        """The state as the model will see it."""
        return self.encode(frame)


@dataclass(frozen=True, kw_only=True)
class TaskText(Codec):
    """Hands the instruction ``task`` to the model as ``name``; a robot may leave it out (or say None)."""

    blocking = False

    name: str = "task"

    @property
    def meta(self) -> CodecMeta:
        """Reads a text that is not required."""
        return CodecMeta(observation={"task": Field(shape=(), dtype="str", required=False)})

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        task = observation.get("task")
        if task is None:
            return {}
        if not isinstance(task, str):
            raise BadObservation(f"task is a {type(task).__name__}, expected the instruction as text")
        return {self.name: task}

    def label(self, frame: Observation) -> dict[str, Any]:
        """The instruction of the frame, which LeRobot stores beside the columns."""
        return self.encode(frame)
