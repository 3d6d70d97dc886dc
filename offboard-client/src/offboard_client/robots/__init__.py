"""What a robot is to a policy: the protocols that a robot implements, and the arithmetic of its poses."""

from __future__ import annotations

from .base import Kinematics, Robot
from .poses import Vector, closure, distance, pose, poses, twists, vector

__all__ = [
    "Kinematics",
    "Robot",
    "Vector",
    "closure",
    "distance",
    "pose",
    "poses",
    "twists",
    "vector",
]
