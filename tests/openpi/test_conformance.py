import numpy as np
import pytest
from offboard_core.testing import CheckpointConformance, ChildLaws, CodecLaws
from openpi_standin import options, robot, write_run

TWO_ARMS = {
    "robot_state.left.q": np.arange(6) / 10,
    "grip.left": 0.25,
    "robot_state.right.q": -np.arange(6) / 10,
    "grip.right": 1.0,
    "image.exterior": robot()["image.exterior"],
    "image.left.wrist": robot()["image.wrist"],
    "task": "fold the towel",
}


class TestOpenPI(CheckpointConformance, ChildLaws):
    plugin = "openpi"
    options = options()

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, tmp_path_factory):
        return write_run(tmp_path_factory.mktemp("run"), {1000: 0.25, 2000: 0.75})

    @pytest.fixture
    def observation(self):
        return robot()


@pytest.mark.slow
class TestOpenPIInAWorker(TestOpenPI):
    """Its server is then the child of a child, and ends, hangs and comes back as it does without."""

    isolated = True


class OneCodec(CodecLaws):
    plugin = "openpi"
    config = "pi05_positronic_lowmem"

    def __init_subclass__(cls):
        cls.options = options(config_name=cls.config)

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, tmp_path_factory):
        return write_run(tmp_path_factory.mktemp("run"), {7: 0.5}, cls.config)

    @pytest.fixture
    def observation(self):
        return robot()


class TestJointsTraj(OneCodec):
    codec = "joints_traj"


class TestDroid(OneCodec):
    codec = "droid"
    config = "pi05_droid"


class TestDroidJoints(OneCodec):
    codec = "droid_jointpos"
    config = "pi05_full_droid_finetune"


class TestLibero(OneCodec):
    codec = "libero"
    config = "pi05_libero"


class TestAloha(OneCodec):
    codec = "aloha"
    config = "pi0_aloha"

    @pytest.fixture
    def observation(self):
        return TWO_ARMS


class TestNative(OneCodec):
    codec = "native"
    config = "pi05_libero"
    fps = 20.0

    @pytest.fixture
    def observation(self):
        image = robot()["image.wrist"]
        return {
            "observation/state": np.zeros(8),
            "observation/image": image,
            "observation/wrist_image": image,
            "task": "stack",
        }
