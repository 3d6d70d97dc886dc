"""LeRobot passes the kit that every vendor inherits, with both kinds of policy and with each codec."""

import contextlib

import numpy as np
import pytest
from golden_codecs import observation as robot_observation
from lerobot_checkpoints import model_inputs
from offboard_core.catalog import from_flags
from offboard_core.testing import CheckpointConformance, ChildLaws, CodecLaws, VendorConformance
from offboard_core.types import ALONE, NO_CONTEXT


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


@pytest.mark.slow
class TestActInAWorker(TestAct, ChildLaws):
    isolated = True

    def test_it_answers_what_it_answers_in_this_process(self, policy, plugins, checkpoints_dir, checkpoint):
        here = from_flags(plugins, vendor="lerobot", checkpoints_dir=str(checkpoints_dir), loader_options=self.options)
        with contextlib.closing(here.loader.load(checkpoint, print, ALONE)) as mine:
            for i in range(3):
                answers = [p.new_session(p.params()).infer(model_inputs(i), NO_CONTEXT).action for p in (policy, mine)]
                np.testing.assert_array_equal(*answers)


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
