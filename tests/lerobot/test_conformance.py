"""LeRobot passes the kit that every vendor inherits, with both kinds of policy and with each codec."""

import numpy as np
import pytest
from golden_codecs import observation as robot_observation
from lerobot_checkpoints import model_inputs
from offboard_core.testing import CheckpointConformance, CodecLaws, VendorConformance


class TestAct(CheckpointConformance):
    plugin = "lerobot"
    options = {"device": "cpu"}

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, run):
        return run

    @pytest.fixture
    def observation(self):
        return {**model_inputs(0), "task": "stack"}


class TestDiffusion(VendorConformance):
    plugin = "lerobot"
    options = {"device": "cpu"}
    fps = 10.0

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, diffusion):
        return diffusion

    @pytest.fixture
    def observation(self):
        return model_inputs(0)


class ArmCodec(CodecLaws):
    plugin = "lerobot"
    options = {"device": "cpu"}

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, act):
        return act

    @pytest.fixture
    def observation(self):
        return robot_observation()


class TestEe(ArmCodec):
    codec = "ee"


class TestJoints(ArmCodec):
    codec = "joints"


class TestEeTraj(ArmCodec):
    codec = "ee_traj"


class TestJointsTraj(ArmCodec):
    codec = "lerobot.joints_traj"


def test_the_sample_is_one_that_a_robot_could_send():
    assert np.linalg.norm(robot_observation()["robot_state.ee_pose"][3:]) == 1
