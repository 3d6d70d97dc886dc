"""The real openpi-client drives a model of each kind that is served here."""

from types import SimpleNamespace

import numpy as np
import pytest
from genuine_client import Failed, speaking
from lerobot_checkpoints import SIDE, save_policy
from offboard_client import InferenceClient
from offboard_client.drivers import RunLength
from offboard_client.robots import connected
from offboard_client.robots.sim import SimRobot, Stacking
from offboard_core import Checkpoint, Chunk, OffboardError
from offboard_core.catalog import CodecChoice, ModelSource, from_flags
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.plugins import Plugins
from openpi_standin import options, write_run
from puppets import Puppet, PuppetLoader
from robot_fakes import driver


def served(**flags):
    return from_flags(Plugins.discover(), **flags)


def images(*names, side=SIDE):
    random = np.random.default_rng(0)
    return {name: random.integers(0, 256, (side, side, 3), dtype=np.uint8) for name in names}


class Player:
    """The real client as the session of the demo's driver."""

    def __init__(self, client, metadata):
        self.client, self.metadata = client, {**metadata, "action": dict(metadata["action_layout"])}
        self.timing = SimpleNamespace(last={})

    def infer(self, observation):
        try:
            reply = self.client.infer(observation)
        except Failed as error:
            if "says stop: the episode is over" in str(error):
                return []
            raise OffboardError(str(error)) from error
        ends = np.cumsum([width for _, width in self.metadata["action_layout"]])[:-1]
        return [
            {
                "action": dict(zip(self.metadata["action"], np.split(step, ends), strict=True)),
                "timestamp": i / self.metadata["action_fps"],
            }
            for i, step in enumerate(reply["actions"])
        ]

    def reset(self):
        self.client.reset()


def test_it_drives_the_simulated_arm_to_success_on_the_scripted_policy(client):
    with speaking(served(vendor="scripted")) as server:
        metadata = client.connect(host=server.host, port=server.port)
        with connected(SimRobot()) as robot:
            playing = driver(Player(client, metadata), robot, task=Stacking(robot))
            playing.run(RunLength(episodes=2), seed=3)
    assert playing.report.successes == 2


def test_a_lerobot_checkpoint_behind_positronics_keys(client, tmp_path):
    folder = save_policy(tmp_path / "run" / "checkpoints" / "000010" / "pretrained_model", "act")
    # Its grip is 0 or 1, whatever the random weights answer.
    model = served(vendor="lerobot", checkpoints_dir=str(tmp_path / "run"), codec="ee_traj")
    pose = np.array([0.4, -0.1, 0.3, 0.5, 0.5, 0.5, 0.5])
    with speaking(model, codec="ee") as server, InferenceClient(server.host, server.port) as ours:
        client.connect(host=server.host, port=server.port)
        pictures = images("observation/wrist_image", "observation/image")
        sent = {"observation/state": np.append(pose, 0.25).astype(np.float32), **pictures, "prompt": "go"}
        actions = client.infer(sent)["actions"]
        with ours.new_session() as session:
            rows = session.infer(
                {
                    "robot_state.ee_pose": pose.astype(np.float32),
                    "grip": np.float32([0.25]),
                    "image.wrist": pictures["observation/wrist_image"],
                    "image.exterior": pictures["observation/image"],
                    "task": "go",
                }
            )
    assert folder.exists()
    expected = [np.append(row["action"]["target_pose"], row["action"]["target_grip"]) for row in rows]
    np.testing.assert_array_equal(actions, expected)


def test_a_lerobot_checkpoint_that_reads_a_libero_robots_names_by_a_map(client, tmp_path):
    save_policy(tmp_path / "run" / "checkpoints" / "000010" / "pretrained_model", "act")
    names = {"observation/state": "state", "observation/image": "left", "observation/wrist_image": "side"}
    model = served(
        vendor="lerobot", checkpoints_dir=str(tmp_path / "run"), codec="native", codec_options={"map": names}
    )
    with speaking(model) as server:
        metadata = client.connect(host=server.host, port=server.port)
        sent = {"observation/state": np.zeros(8, np.float32), **images("observation/image", "observation/wrist_image")}
        actions = client.infer({**sent, "prompt": "put the bowl on the plate"})["actions"]
    assert metadata["action_layout"] == [["action", 8]]
    assert actions.shape == (16, 8)


def droid_robot():
    return {
        "observation/joint_position": np.array([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7], np.float32),
        "observation/gripper_position": np.array([0.3], np.float32),
        **images("observation/exterior_image_1_left", "observation/wrist_image_left", side=224),
        "prompt": "put the cup on the plate",
    }


def playing(codec, answer):
    """A model whose codec is openpi's, and what it has been asked."""
    asked = []

    def infer(episode, inputs):
        asked.append(inputs)
        return Chunk(answer)

    model = ModelSource(
        vendor="openpi",
        registry=MemoryRegistry([Checkpoint(id="it")]),
        loader=PuppetLoader({"it": lambda: Puppet(infer)}),
        codec=CodecChoice(Plugins.discover(), "openpi", codec),
    )
    return model, asked


@pytest.mark.parametrize("codec", ["droid", "native"])
def test_what_a_droid_robot_and_its_model_say_arrives_to_the_bit(client, codec):
    actions = np.random.default_rng(1).uniform(-1.1, 1.1, (15, 8))
    model, asked = playing(codec, actions)
    with speaking(model, codec="droid") as server:
        metadata = client.connect(host=server.host, port=server.port)
        answered = client.infer(droid_robot())["actions"]
    assert (answered.dtype, answered.tobytes()) == (actions.dtype, actions.tobytes())
    sent = droid_robot()
    (seen,) = asked
    assert seen.keys() == sent.keys()
    for name, value in sent.items():
        if name == "prompt":
            assert seen[name] == value
        else:
            assert (seen[name].dtype, seen[name].tobytes()) == (value.dtype, value.tobytes())
    if codec == "droid":
        assert metadata["action_layout"] == [["joint_velocity", 7], ["gripper_position", 1]]


@pytest.mark.parametrize("codec", ["droid", "native"])
def test_a_droid_robot_on_openpi_itself(client, tmp_path, codec):
    run = write_run(tmp_path / "run", {1000: 0.75}, config="pi05_droid", metadata={"reset_pose": [0, -1.5]})
    model = served(
        vendor="openpi", checkpoints_dir=str(run), codec=codec, loader_options=options(config_name="pi05_droid")
    )
    with speaking(model, codec="droid") as server:
        metadata = client.connect(host=server.host, port=server.port)
        actions = client.infer(droid_robot())["actions"]
        assert metadata["reset_pose"] == [0, -1.5]
        assert actions.shape == (15, 8)
        # The stand-in answers the first joint it was sent, then its checkpoint's value.
        np.testing.assert_array_equal(actions[0], [np.float32(0.1), *[0.75] * 7])
        with pytest.raises(Failed, match="a bad thing in the middle of the model") as raised:
            client.infer({**droid_robot(), "prompt": "raise"})
        assert "Traceback" not in str(raised.value)
        np.testing.assert_array_equal(client.infer(droid_robot())["actions"], actions)
