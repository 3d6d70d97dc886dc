"""DROID's package as far as its robot goes: its checks, what it clips and scales down, its threads, and no hardware.

What it computes is what DROID's ``robot_env.py``, ``franka/robot.py`` and ``robot_ik_solver.py`` compute of an action.
"""

from __future__ import annotations

import functools
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

WRIST, FIRST, SECOND = "11", "22", "33"
RGB = (10, 20, 30)
Array = NDArray[np.float64]
#: What was made, the newest last.
made: list[RobotEnv] = []


def install(patch: pytest.MonkeyPatch, **parameters: Any) -> None:
    """As ``import droid.robot_env`` and ``droid.misc.parameters``; ``parameters``: others than a laboratory's."""
    ids = {"hand_camera_id": WRIST, "varied_camera_1_id": FIRST, "varied_camera_2_id": SECOND, "nuc_ip": "10.0.0.2"}
    for name, held in {
        "droid": {},
        "droid.misc": {},
        "droid.misc.parameters": {**ids, **parameters, "__file__": "droid/misc/parameters.py"},
        "droid.robot_env": {"RobotEnv": RobotEnv},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(held)
        patch.setitem(sys.modules, name, module)


@functools.cache
def _picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 4), (*RGB[::-1], 255), np.uint8)


class RobotEnv:
    """The arm is at once where it is sent. ``sent``: every action, as (action space, numbers).

    ``fault``: what is wrong with it: a text that a call raises, or one of those below.
    """

    control_hz = 15

    def __init__(
        self, action_space: str = "cartesian_velocity", gripper_action_space: Any = None, do_reset: bool = True
    ) -> None:
        self._thread = threading.get_ident()
        self.action_space, self.gripper_action_space = action_space, gripper_action_space
        self.joints, self.gripper = np.array([0.0, -0.6, 0.0, -2.5, 0.0, 1.9, 0.0]), 0.25
        self.sent: list[tuple[str, list[float]]] = []
        self.resets, self.closed, self.fault = 0, False, ""
        self.camera_reader = SimpleNamespace(disable_cameras=self._disable)
        if do_reset:
            self.resets += 1
        made.append(self)

    def step(self, action: Array) -> dict[str, Any]:
        assert len(action) == 8
        if "velocity" in self.action_space:
            assert action.max() <= 1
            assert action.min() >= -1
        return self.update_robot(action, self.action_space, self.gripper_action_space)

    def update_robot(
        self, action: Array, action_space: str = "cartesian_velocity", gripper_action_space: Any = None
    ) -> dict[str, Any]:
        self._called()
        assert gripper_action_space == "position"
        state = self._state()
        # It crosses to the robot's computer as lists.
        numbers = action.tolist()
        self.sent.append((action_space, numbers))
        if action_space == "joint_velocity":
            velocity = np.array(numbers[:7])
            fastest = np.abs(velocity).max()
            step = 0.05 if self.fault == "small" else 0.2
            self.joints = self.joints + (velocity / max(fastest, 1)) * step
        else:
            self.joints = np.array(numbers[:7])
        self.gripper = float(np.clip(numbers[7], 0, 1))
        if self.fault == "clips":
            self.gripper = min(self.gripper, 0.5)
        return {"robot_state": state, "joint_position": self.joints.tolist(), "gripper_position": self.gripper}

    def get_state(self) -> tuple[dict[str, Any], dict[str, int]]:
        self._called()
        return self._state(), {}

    def get_observation(self) -> dict[str, Any]:
        state, _ = self.get_state()
        pictures = {f"{serial}_{side}": self._picture() for serial in self._serials() for side in ("left", "right")}
        read: Any = None if self.fault == "camera" else (pictures, {})
        pictures, _ = read  # of a camera that grabs nothing: None
        return {"robot_state": state, "image": pictures, "timestamp": {}}

    def _serials(self) -> list[str]:
        return [WRIST] if self.fault == "exterior" else [WRIST, FIRST, SECOND]

    def _picture(self) -> NDArray[np.uint8]:
        return _picture(*((376, 672) if self.fault == "VGA" else (720, 1280)))

    def _state(self) -> dict[str, Any]:
        return {
            "joint_positions": self.joints.tolist(),
            "joint_velocities": [0.0] * (6 if self.fault == "six" else 7),
            "cartesian_position": [0.4, 0.0, 0.3, np.pi, 0.0, 0.5],
            "gripper_position": self.gripper,
        }

    def _disable(self) -> None:
        self._called()
        self.closed = True

    def _called(self) -> None:
        # The client of its remote calls belongs to one thread, as gevent has it.
        assert threading.get_ident() == self._thread, "greenlet.error: cannot switch to a different thread"
        if " " in self.fault:
            raise ConnectionError(self.fault)
