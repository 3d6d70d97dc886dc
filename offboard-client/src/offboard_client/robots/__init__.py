"""What a robot and a task are, how one is called, and the arithmetic of poses."""

from __future__ import annotations

from .base import Kinematics, Robot, Task
from .calls import asked, connected, held
from .poses import Vector, closure, distance, pose, poses, twists, vector
from .spec import Channel, RobotSpec

__all__ = [
    "Channel",
    "Kinematics",
    "Robot",
    "RobotSpec",
    "Task",
    "Vector",
    "asked",
    "closure",
    "connected",
    "distance",
    "held",
    "pose",
    "poses",
    "twists",
    "vector",
]
