"""Gymnasium's environments as robots (``pip install 'offboard-client[gym]'``)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .options import GymOptions
from .spaces_file import Judged, Measured, Played, SpacesFile, read_spaces

if TYPE_CHECKING:
    from .robot import GymRobot, make_gym
    from .task import GymTask, make_gym_task

__all__ = [
    "GymOptions",
    "GymRobot",
    "GymTask",
    "Judged",
    "Measured",
    "Played",
    "SpacesFile",
    "make_gym",
    "make_gym_task",
    "read_spaces",
]

#: Imported when first asked for, since they import Gymnasium, which not everybody has.
_LATER = {"GymRobot": "robot", "make_gym": "robot", "GymTask": "task", "make_gym_task": "task"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
