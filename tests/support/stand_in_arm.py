"""An arm with an SO-101's motors and no hardware, registered as third parties register theirs with LeRobot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
#: From where to where each goes, in ticks of 4096 a turn.
RANGES = dict(zip(MOTORS, ((700, 3400), (800, 3300), (900, 3100), (850, 3250), (0, 4095), (2000, 3500)), strict=True))
PLUGIN = """
from dataclasses import dataclass, field

import numpy as np
from lerobot.motors import Motor, MotorNormMode
from lerobot.robots import Robot, RobotConfig


@RobotConfig.register_subclass("stand_in")
@dataclass(kw_only=True)
class StandInConfig(RobotConfig):
    use_degrees: bool = True
    camera: list[int] = field(default_factory=lambda: [4, 6, 3])
    fault: str = ""
    max_relative_target: float | None = None


class Bus:
    model_resolution_table = {"sts3215": 4096}
    is_connected = False

    def __init__(self, mode):
        names = "shoulder_pan shoulder_lift elbow_flex wrist_flex wrist_roll".split()
        self.motors = {name: Motor(i + 1, "sts3215", mode) for i, name in enumerate(names)}
        self.motors["gripper"] = Motor(6, "sts3215", MotorNormMode.RANGE_0_100)
        self.at = dict.fromkeys(names, 10.0) | {"gripper": 60.0}

    def sync_read(self, what):
        return {"Present_Position": dict(self.at)}[what]

    def disconnect(self, disable_torque=True):
        self.is_connected = False


class StandIn(Robot):
    config_class = StandInConfig
    name = "stand_in"
    is_calibrated = True

    def __init__(self, config):
        super().__init__(config)
        self.config = config
        mode = MotorNormMode.DEGREES if config.use_degrees else MotorNormMode.RANGE_M100_100
        self.bus = Bus(MotorNormMode.RANGE_0_100 if config.fault == "mode" else mode)
        if config.fault == "no bus":
            del self.bus
        self.cameras = {}

    @property
    def observation_features(self):
        return {**self.action_features, "front": (4, 6, 3)}

    @property
    def action_features(self):
        wheels = {"x.vel": float} if self.config.fault == "wheels" else {}
        return {f"{name}.pos": float for name in self.bus.motors} | wheels

    @property
    def is_connected(self):
        return self.bus.is_connected

    def connect(self, calibrate=True):
        assert not calibrate, "nobody is there to be asked"
        self.bus.is_connected = True

    def calibrate(self):
        raise AssertionError("nobody is there to be asked")

    def configure(self):
        pass

    def get_observation(self):
        seen = {f"{name}.pos": value for name, value in self.bus.at.items()}
        return {**seen, "front": np.zeros(self.config.camera, np.uint8)}

    def send_action(self, action):
        if self.config.fault == "clips":
            action = {name: min(value, 11.0) for name, value in action.items()}
        self.bus.at.update({name.removesuffix(".pos"): value for name, value in action.items()})
        return action

    def disconnect(self):
        self.bus.disconnect()
"""


#: A third party's camera, registered likewise.
CAMERA = """
from dataclasses import dataclass

import numpy as np
from lerobot.cameras import Camera, CameraConfig


@CameraConfig.register_subclass("stand_in")
@dataclass(kw_only=True)
class StandInConfig(CameraConfig):
    pass


class StandIn(Camera):
    is_connected = False

    def __init__(self, config):
        super().__init__(config)

    @staticmethod
    def find_cameras():
        return []

    def connect(self, warmup=True):
        self.is_connected = True

    def read(self, color_mode=None):
        return np.full((self.height, self.width, 3), 7, np.uint8)

    def async_read(self, timeout_ms=200):
        return self.read()

    def read_latest(self, max_age_ms=1000):
        return self.read()

    def disconnect(self):
        self.is_connected = False
"""


def write_calibration(folder: Path, ranges: Mapping[str, tuple[int, int]] = RANGES, name: str = "mine") -> None:
    motors = {
        motor: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": low, "range_max": high}
        for i, (motor, (low, high)) in enumerate(ranges.items(), 1)
    }
    (folder / f"{name}.json").write_text(json.dumps(motors))


def install(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """As LeRobot finds them: distributions whose names begin so. A type stays registered as long as the process."""
    for name, source in {"lerobot_robot_stand_in": PLUGIN, "lerobot_camera_stand_in": CAMERA}.items():
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    patch.syspath_prepend(str(folder))
    return folder
