"""The simulated arm with its cameras, and its task (``pip install 'offboard-client[sim]'``)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .names import SPEC
from .options import ClockName, RendererName, SimOptions
from .tasks import COLOURS, CUBE_SIZE, StackTask

if TYPE_CHECKING:
    from .cameras import RayRenderer
    from .kinematics import POSITION_TOLERANCE, ROTATION_TOLERANCE, Kinematics
    from .model_file import ModelFile, read_model_file
    from .robot import SimRobot, make_sim
    from .scene import BACKGROUND, CUBES, FINGER_TRAVEL, HOME, JOINT_SPEEDS, mjcf
    from .stacking import Stacking, make_stacking

__all__ = [
    "BACKGROUND",
    "COLOURS",
    "CUBES",
    "CUBE_SIZE",
    "ClockName",
    "FINGER_TRAVEL",
    "HOME",
    "JOINT_SPEEDS",
    "POSITION_TOLERANCE",
    "ROTATION_TOLERANCE",
    "SPEC",
    "Kinematics",
    "ModelFile",
    "RayRenderer",
    "RendererName",
    "SimOptions",
    "SimRobot",
    "StackTask",
    "Stacking",
    "make_sim",
    "make_stacking",
    "mjcf",
    "read_model_file",
]

#: Imported when first asked for, since they import libraries that not everybody has.
_LATER = {
    "SimRobot": "robot",
    "make_sim": "robot",
    "Stacking": "stacking",
    "make_stacking": "stacking",
    "RayRenderer": "cameras",
    "BACKGROUND": "scene",
    "CUBES": "scene",
    "FINGER_TRAVEL": "scene",
    "HOME": "scene",
    "JOINT_SPEEDS": "scene",
    "mjcf": "scene",
    "Kinematics": "kinematics",
    "ModelFile": "model_file",
    "read_model_file": "model_file",
    "POSITION_TOLERANCE": "kinematics",
    "ROTATION_TOLERANCE": "kinematics",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
