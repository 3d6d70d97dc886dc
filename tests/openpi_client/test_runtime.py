"""The real client's Runtime, PolicyAgent and ActionChunkBroker: a chunk is never shorter than what they count on."""

import itertools

import numpy as np
import pytest
from genuine_client import Failed, speaking
from offboard_client.errors import ModelLost
from offboard_client.robots import connected
from offboard_client.robots.sim import CUBES, SimRobot, Stacking
from offboard_core import Checkpoint, Chunk, InferenceServer, declare
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from puppets import ARM_INPUTS, ARM_OUTPUTS, arm

POSE = np.array([0.5, 0.0, 0.25, 0.0, 1.0, 0.0, 0.0], np.float32)
FPS = 15


def scripted(**how):
    """Its chunks are 2 to 30 steps long."""
    return speaking(from_flags(Plugins.discover(), vendor="scripted"), **how)


class World:
    """The simulated arm as openpi's Environment."""

    def __init__(self, robot):
        self._robot, self._task = robot, Stacking(robot)
        self.done = 0
        self.played = []

    def reset(self):
        self._task.reset(3)
        self._robot.observe()  # an arm that was stopped moves again

    def is_episode_complete(self):
        self.done += self._task.succeeded()
        return bool(self.done)

    def get_observation(self):
        cubes = {f"sim.objects.{name}": self._robot.cube(name) for name in CUBES}
        return {**self._robot.state(), **cubes, "prompt": self._task.instruction}

    def apply_action(self, action):
        self.played.append(action)
        self._robot.apply({"target_pose": action[:7], "target_grip": action[7:]}, 1 / FPS)


@pytest.mark.parametrize("horizon", [3, 5, 10, None], ids=["3", "5", "10", "whole"])
def test_it_stacks_the_cubes_whatever_the_brokers_horizon(client, horizon):
    with scripted(action_horizon=horizon, short_chunks="hold") as server, connected(SimRobot()) as robot:
        metadata = client.connect(host=server.host, port=server.port)
        assert (metadata["chunk_length"], metadata["short_chunks"]) == (horizon or 30, "hold")
        client.broker(metadata["chunk_length"])
        world = World(robot)
        client.play(world, steps=900)
    assert world.done == 1
    # What was filled up is the last target again: nothing jumps.
    moved = np.abs(np.diff(np.array(world.played)[:, :3], axis=0)).max()
    assert moved < 0.4 / FPS * 1.5


def test_a_policy_that_is_known_to_answer_fewer_gets_no_session_and_the_advice_comes_first(client):
    with scripted(action_horizon=10) as server, pytest.raises(Failed) as raised:
        client.connect(host=server.host, port=server.port)
    assert (
        "1008 (policy violation) dialect_unsupported: serve with --openpi.short_chunks hold or "
        "--openpi.action_horizon 2: the model answers 2 to 30…"
    ) in str(raised.value)


def test_without_a_word_the_least_that_every_answer_has_is_promised(client):
    with scripted() as server, connected(SimRobot()) as robot:
        metadata = client.connect(host=server.host, port=server.port)
        assert (metadata["chunk_length"], metadata["short_chunks"]) == (2, "refuse")
        assert "shortest_chunk" not in metadata
        client.broker(2)
        world = World(robot)
        client.play(world, steps=20)
    assert len(world.played) >= 20


@pytest.mark.parametrize("steps", [3, 4])
def test_a_model_that_breaks_its_own_word_is_an_error_before_the_first_step(client, steps):
    answer = Chunk({"target_pose": np.tile(POSE, (3, 1)), "target_grip": np.zeros((3, 1))})
    said = Checkpoint(id="arm", inputs=ARM_INPUTS, outputs=ARM_OUTPUTS, chunk_length=steps)
    with speaking(arm(lambda episode, inputs: answer, checkpoints=[said])) as server:
        assert client.connect(host=server.host, port=server.port)["chunk_length"] == steps
        client.broker(steps)
        if steps == 3:
            assert client.infer({"robot_state.ee_pose": POSE})["actions"].shape == (8,)
            return
        with pytest.raises(Failed, match="answered 3 steps, where the robot counts on 4 of each answer"):
            client.infer({"robot_state.ee_pose": POSE})


class Still:
    """A robot that is where it is; what it was told."""

    def __init__(self):
        self.played = []

    def reset(self):
        pass

    def is_episode_complete(self):
        return False

    def get_observation(self):
        return {"robot_state.ee_pose": POSE}

    def apply_action(self, action):
        self.played.append(action)


def steps(count):
    return Chunk({"target_pose": np.tile(POSE, (count, 1)), "target_grip": np.zeros((count, 1))})


MID_EPISODE = {
    "it fails": (RuntimeError("no idea"), "policy_failed: the policy raised RuntimeError: no idea"),
    "it has nothing to say": (None, "dialect_unsupported: the model has nothing new to say"),
    "its answers are shorter": (
        steps(2),
        "dialect_unsupported: the model answered 2 steps, where the robot counts on 3",
    ),
    "it is lost": (ModelLost("the GPU fell off the bus"), "model_lost: the GPU fell off the bus"),
}


@pytest.mark.parametrize(("third", "says"), MID_EPISODE.values(), ids=MID_EPISODE)
def test_what_a_policy_does_in_mid_episode_is_told_and_not_played(client, third, says):
    answers = []

    def answer(episode, inputs):
        answers.append(inputs)
        if len(answers) != 3:
            return steps(9 if len(answers) == 2 else 3)  # a longer one is no harm
        if isinstance(third, Exception):
            raise third
        return third

    with speaking(arm(answer), action_horizon=3) as server:
        client.connect(host=server.host, port=server.port)
        client.broker(3)
        robot = Still()
        with pytest.raises(Failed) as raised:
            client.play(robot, steps=30)
    assert str(raised.value).startswith(f"RuntimeError: Error in inference server:\n{says}")
    assert "Traceback" not in str(raised.value)
    assert len(robot.played) == 6


def varying():
    """A function that answers one step more each time, from 1 to 3."""
    count = itertools.cycle((1, 2, 3))
    return lambda seen: [{"target_pose": seen["robot_state.ee_pose"], "target_grip": [0.0]}] * next(count)


POSES = {"target_pose": (7,), "target_grip": (1,)}


@pytest.mark.parametrize(
    ("said", "options", "promised"),
    [({}, {}, 1), ({"steps": (1, 3)}, {}, 1), ({"steps": (1, 3)}, {"short_chunks": "hold"}, 3)],
    ids=["nothing is said", "what it declares", "filled up"],
)
def test_a_function_whose_chunks_vary_is_played_at_what_the_metadata_promises(client, said, options, promised):
    with speaking(declare(action=POSES, **said)(varying()), **options) as server:
        metadata = client.connect(host=server.host, port=server.port)
        assert metadata["chunk_length"] == promised
        client.broker(metadata["chunk_length"])
        robot = Still()
        client.play(robot, steps=9)
    assert len(robot.played) >= 9


def test_an_inference_server_without_a_word_promises_one_step(client):
    with InferenceServer({"it": varying()}, port=0) as server:
        metadata = client.connect(host=server.host, port=server.port)
    assert (metadata["chunk_length"], metadata["short_chunks"]) == (1, "refuse")
