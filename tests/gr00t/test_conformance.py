import numpy as np
import pytest
from gr00t_standin import LANGUAGE, SIZE, STATE, VIDEO, options, robot, write_run
from offboard_core.testing import CheckpointConformance, ChildLaws, CodecLaws


class TestGR00T(CheckpointConformance, ChildLaws):
    plugin = "gr00t"
    options = options()

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, tmp_path_factory):
        return write_run(tmp_path_factory.mktemp("run"), {1000: 0.25, 2000: 0.75})

    @pytest.fixture
    def observation(self):
        return robot()


@pytest.mark.slow
class TestN15(TestGR00T):
    options = options("n1.5")

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, tmp_path_factory):
        return write_run(tmp_path_factory.mktemp("run"), {1000: 0.25, 2000: 0.75}, "n1.5")


@pytest.mark.slow
class TestN17(TestGR00T):
    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, tmp_path_factory):
        return write_run(tmp_path_factory.mktemp("run"), {1000: 0.25, 2000: 0.75}, "n1.7", form="numpy")


@pytest.mark.slow
class TestGR00TInAWorker(TestGR00T):
    """Its server is then the child of a child, and ends, hangs and comes back as it does without."""

    isolated = True


class TestNative(CodecLaws):
    plugin = "gr00t"
    options = options()
    codec = "native"
    fps = 20.0

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls, tmp_path_factory):
        return write_run(tmp_path_factory.mktemp("run"), {7: 0.5})

    @pytest.fixture
    def observation(self):
        return {
            **{f"video.{name}": np.zeros((*SIZE[::-1], 3), np.uint8) for name in VIDEO},
            **{f"state.{name}": np.zeros(width) for name, width in STATE.items()},
            LANGUAGE: "stack",  # and task: either is enough, so that neither is required
            "task": "stack",
        }
