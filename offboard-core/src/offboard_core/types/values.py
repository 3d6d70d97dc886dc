"""What observations and actions are made of, and what describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

#: A map of names to plain data (str, numbers, lists, maps) and numpy arrays. Arrays may be read-only views.
Observation = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Field:
    """What one name of an observation or action holds.

    ``shape``: None where any is taken; -1 for a free axis. ``dtype``: a numpy dtype name, ``"str"`` or None.
    ``unit``: as a person would write it (``"m, unit quaternion wxyz"``, ``"rad"``). ``kind``: for actions, as M-5 of
    the protocol lists them (``absolute_pose``, ``joint_delta``, ``vector`` …).
    """

    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    unit: str | None = None
    required: bool = True
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class CodecMeta:
    """What a codec reads from a robot and what it sends back; the handshake is made of it.

    ``observation``: canonical name → :class:`Field`. ``action``: action name → :class:`Field`.
    ``image_sizes``: the size a client may shrink to, ``(w, h)`` for all images, a map by name, or None.
    ``action_fps``: steps per second, None when nothing says it. ``action_horizon_sec``: where the chunk is
    cut, None for whole. ``conventions``: quaternion order, frames, grip sense.
    """

    observation: Mapping[str, Field] = field(default_factory=dict[str, Field])
    action: Mapping[str, Field] = field(default_factory=dict[str, Field])
    image_sizes: tuple[int, int] | Mapping[str, tuple[int, int]] | None = None
    action_fps: float | None = None
    action_horizon_sec: float | None = None
    conventions: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of a training data set, as LeRobot's ``info.json`` describes it."""

    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...] | None = None


def fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether an array of ``shape`` is one of a declared shape, in which -1 is any length."""
    # A plugin may have written a list, which no cache takes.
    return shape == declared or _fits(shape, tuple(declared))


@lru_cache(maxsize=256)
def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(shape) == len(declared) and all(d in (-1, s) for s, d in zip(shape, declared, strict=True))


def is_image(field: Field) -> bool:
    """Whether a field holds an image: (h, w, 3) uint8, each side given or free."""
    return field.shape is not None and len(field.shape) == 3 and field.shape[2] == 3 and field.dtype == "uint8"
