"""DROID's ``RobotEnv`` as a robot, in the environment that has DROID's package, which is imported for it only."""

from __future__ import annotations

from .options import DroidOptions
from .robot import DroidRobot, make_droid

__all__ = ["DroidOptions", "DroidRobot", "make_droid"]
