import json

import numpy as np
from lerobot.robots import Robot

from .config_trial import TrialArmConfig


class TrialArm(Robot):
    config_class = TrialArmConfig
    name = "trial_arm"
    is_connected = False
    is_calibrated = True

    def __init__(self, config):
        super().__init__(config)
        self.config = config
        self.cameras = {}
        self.at = {f"{name}.pos": 60.0 if name == "gripper" else 10.0 for name in config.motors}
        self.seen = 0

    @property
    def observation_features(self):
        return {**self.action_features, **dict.fromkeys(self.config.eyes, (*self.config.side, 3))}

    @property
    def action_features(self):
        return dict.fromkeys(self.at, float)

    def connect(self, calibrate=True):
        self.is_connected = True

    def calibrate(self):
        """Nothing to do."""

    def configure(self):
        """Nothing to do."""

    def get_observation(self):
        self.seen += 1
        light = np.random.default_rng(self.seen).integers(0, 256, (*self.config.side, 3), np.uint8)
        return {**self.at, **dict.fromkeys(self.config.eyes, light)}

    def send_action(self, action):
        with open(self.config.log, "a") as log:
            log.write(json.dumps({name: float(value) for name, value in action.items()}) + "\n")
        self.at = {name: float(action[name]) for name in self.at}
        return action

    def disconnect(self):
        self.is_connected = False
