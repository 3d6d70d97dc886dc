"""What a robot and a task are, how one is found and called, and the arithmetic of poses."""

from __future__ import annotations

from .base import Cameras, Kinematics, Leader, Robot, Task, Translation
from .calls import STOPPING, Asked, apply, connected, held, not_back
from .dry import DryRobot, DryTask
from .entries import GROUP, RobotEntry, Unjudged, choose_robot, list_robots, make_robot, make_task
from .grid import ControlGrid
from .measured import measured, observed
from .names import RULES
from .poses import Vector, closure, distance, mean_pose, pose, poses, twists, vector
from .spec import Channel, RobotSpec, check_period
from .told import number, truth
from .watchdog import LONGER, PATIENCE, OwnThread, WatchedRobot, WatchedTask, check_patience

__all__ = [
    "Cameras",
    "Channel",
    "ControlGrid",
    "GROUP",
    "LONGER",
    "PATIENCE",
    "RULES",
    "STOPPING",
    "DryRobot",
    "DryTask",
    "Kinematics",
    "Leader",
    "OwnThread",
    "Robot",
    "RobotEntry",
    "RobotSpec",
    "Task",
    "Translation",
    "Unjudged",
    "Vector",
    "WatchedRobot",
    "WatchedTask",
    "Asked",
    "apply",
    "check_patience",
    "check_period",
    "choose_robot",
    "closure",
    "connected",
    "distance",
    "held",
    "list_robots",
    "make_robot",
    "measured",
    "make_task",
    "mean_pose",
    "not_back",
    "observed",
    "number",
    "pose",
    "poses",
    "truth",
    "twists",
    "vector",
]
