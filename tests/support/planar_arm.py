"""An arm of three joints in the plane x, z that records every set-point its hardware would have been sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from offboard_client.errors import InvalidAction
from offboard_client.robots import Vector

LINKS = (0.3, 0.25, 0.1)
HEIGHT = 0.3
#: Elbow up, the hand level: at x 0.5, z 0.42.
HOME = np.array([1.0, -1.4, 0.4])


class Planar:
    """Poses have y = 0 and are turned about the base's y axis."""

    def forward(self, q: Vector) -> Vector:
        x, z, angle = 0.0, HEIGHT, 0.0
        for link, joint in zip(LINKS, q, strict=True):
            angle += float(joint)
            x, z = x + link * math.cos(angle), z + link * math.sin(angle)
        return np.array([x, 0.0, z, math.cos(angle / 2), 0.0, -math.sin(angle / 2), 0.0])


class Solvable(Planar):
    """The same with its inverse, the elbow bent as it is."""

    def solve(self, pose: Vector, near: Vector) -> Vector:
        a, b, hand = LINKS
        angle = -2 * math.atan2(pose[5], pose[3])
        x, z = pose[0] - hand * math.cos(angle), pose[2] - HEIGHT - hand * math.sin(angle)
        cosine = (x * x + z * z - a * a - b * b) / (2 * a * b)
        if abs(cosine) > 1 or abs(pose[1]) > 1e-9:
            raise InvalidAction("out of reach")
        elbow = math.copysign(math.acos(cosine), near[1])
        shoulder = math.atan2(z, x) - math.atan2(b * math.sin(elbow), a + b * math.cos(elbow))
        q = np.array([shoulder, elbow, angle - shoulder - elbow])
        return q + 2 * math.pi * np.round((near - q) / (2 * math.pi))


class PlanarArm:
    """Follows its set-points exactly, and is its own task. ``sent``: the joints of each, one a control period."""

    actions = frozenset({"target_pose", "target_joints", "joint_delta", "target_grip"})
    control_period = 0.01
    instruction: str | None = None

    def __init__(self, kinematics: Any = None) -> None:
        self.kinematics = kinematics
        self.joints = HOME.copy()
        self.grip = 0.0
        self.sent: list[Vector] = []
        self.played: list[Mapping[str, Any]] = []

    def reset(self, seed: int) -> None:
        self.joints = HOME.copy()

    def observe(self) -> dict[str, Any]:
        seen: dict[str, Any] = {"robot_state.q": self.joints.copy(), "grip": self.grip}
        if self.kinematics:
            seen["robot_state.ee_pose"] = Planar().forward(self.joints)
        return seen

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        goal = self.joints
        if "target_pose" in action:
            goal = Solvable().solve(np.asarray(action["target_pose"]), self.joints)
        elif "target_joints" in action:
            goal = np.asarray(action["target_joints"])
        elif "joint_delta" in action:
            goal = self.joints + action["joint_delta"]
        self.grip = float(np.asarray(action.get("target_grip", [self.grip]))[0])
        self.played.append(action)
        periods = round(seconds / self.control_period)
        assert periods * self.control_period == seconds, "not a whole number of control periods"
        self.sent += list(np.linspace(self.joints, goal, periods + 1)[1:])
        self.joints = np.array(goal)

    def stop(self) -> None:
        pass

    def succeeded(self) -> bool | None:
        return None
