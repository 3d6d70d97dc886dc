"""LeRobot's own robot_client, unmodified, in front of a server here; and LeRobot's own server beside it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import offboard_lerobot
import pytest
from inside_lerobot import MOTORS, TURNED, Said, install, motors
from lerobot_async import TIME, Client
from lerobot_checkpoints import SIDE, save_policy
from offboard_core import Chunk, CodecEntry, InferenceServer, hookimpl
from offboard_core.catalog import read_models
from offboard_core.frontends import make_listeners
from offboard_core.plugins import Plugins
from offboard_lerobot.async_inference.tensors import write_actions
from puppets import PATIENCE, Puppet, source, until
from robots import get_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(8 * PATIENCE)]
PLUGINS = Plugins.of(lerobot=offboard_lerobot)
ROWS = np.random.default_rng(3).normal(size=(60, 7)).astype(np.float32)


@pytest.fixture
def helpers(tmp_path, monkeypatch):
    """LeRobot's module, which makes a folder for its logs where it is imported."""
    monkeypatch.chdir(tmp_path)
    import lerobot.async_inference.helpers as helpers

    yield helpers
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()


def test_the_clients_unpickler_gets_what_torch_has(helpers):
    import torch

    found = pickle.loads(write_actions(ROWS, TIME, 1 / 30, 250))
    times = [(TIME + i * (1 / 30), 250 + i) for i in range(60)]
    assert [(action.timestamp, action.timestep) for action in found] == times
    for action, row in zip(found, ROWS, strict=True):
        assert isinstance(action, helpers.TimedAction)
        assert action.get_action().device.type == "cpu"
        assert torch.equal(action.get_action(), torch.from_numpy(row))
    tensors = [torch.from_numpy(row).clone() for row in ROWS]
    made = [helpers.TimedAction(*at, tensor) for at, tensor in zip(times, tensors, strict=True)]
    theirs = pickle.dumps(made, 4)
    keys = set(re.findall(rb"FloatStorage\nq\x01X.\0\0\0(\d+)q\x02", theirs))
    (length,) = {len(key) for key in keys}
    for key in keys:
        theirs = theirs.replace(key, b"9" * length)
    assert write_actions(ROWS, TIME, 1 / 30, 250, key="9" * length) == theirs


def test_lerobots_own_server_answers_the_same(helpers, tmp_path):
    """To the bit, with pictures of the model's size; others it stretches, and here they get black bars."""
    from lerobot.async_inference.configs import PolicyServerConfig
    from lerobot.async_inference.policy_server import PolicyServer

    run = tmp_path / "cubes"
    act = save_policy(run / "checkpoints" / "000100" / "pretrained_model", "act", 1)
    names = [f"joint_{i}.pos" for i in range(1, 8)] + ["gripper.pos"]
    features: dict[str, Any] = {"observation.state": {"dtype": "float32", "shape": (8,), "names": names}}
    seen: dict[str, Any] = {name: float(number) / 10 for number, name in enumerate(names)}
    for number, camera in enumerate(("left", "side")):
        features[f"observation.images.{camera}"] = {
            "dtype": "image",
            "shape": (SIDE, SIDE, 3),
            "names": ["h", "w", "c"],
        }
        seen[camera] = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    asked = {
        "policy_type": "act",
        "lerobot_features": features,
        "actions_per_chunk": 5,
        "device": "cpu",
        "rename_map": {},
    }

    class Context:
        def peer(self):
            return "here"

    theirs, setup = PolicyServer(PolicyServerConfig()), type("Setup", (), {})()
    config = helpers.RemotePolicyConfig(pretrained_name_or_path=str(act), **asked)
    setup.data = pickle.dumps(config)
    theirs.SendPolicyInstructions(setup, Context())
    told = theirs._predict_action_chunk(helpers.TimedObservation(TIME, 3, dict(seen, task="reach")))

    table = f'[act]\nvendor = "lerobot"\ncheckpoints_dir = "{run}"\ncodec = "native"\n'
    (tmp_path / "models.toml").write_text(table)
    models = read_models(tmp_path / "models.toml", PLUGINS)
    listeners = make_listeners(PLUGINS, ["lerobot:0"])
    with (
        InferenceServer(models, port=0, listeners=listeners, frontends={}) as server,
        Client(server.listeners.addresses["lerobot"][1]) as client,
    ):
        client.start(pretrained_name_or_path="000100", **asked)
        found = client.ask(3, task="reach", **seen)
    assert [(a.timestamp, a.timestep) for a in found] == [(a.get_timestamp(), a.get_timestep()) for a in told]
    assert len(found) == 5
    for ours, its in zip(found, told, strict=True):
        assert ours.numbers.tobytes() == its.get_action().numpy().tobytes()


# -- the unmodified client -------------------------------------------------------------------------------------------
class _Codecs:
    @hookimpl
    def offboard_codecs(self) -> Any:
        yield CodecEntry(
            name="said", summary="As it is said.", factory=lambda options, checkpoint: Said(motors(TURNED))
        )


def by_name(episode: Any, inputs: Any) -> Chunk:
    """Each motor to a place of its own; eight steps."""
    return Chunk({"target_motors": np.repeat(np.float32([[MOTORS.index(name) for name in TURNED]]), 8, axis=0)})


@contextlib.contextmanager
def serving(**more: Any) -> Any:
    policy = Puppet(by_name)

    def load() -> Puppet:
        return policy

    listeners = make_listeners(PLUGINS, ["lerobot:0"], {"lerobot": {"units": "degrees"}})
    models = {"": source({"m": load}, codec="said", plugin=_Codecs())}
    with InferenceServer(models, port=0, listeners=listeners, frontends={}, **more) as server:
        yield server, policy


@pytest.fixture
def robot_client(tmp_path):
    """Starts LeRobot's robot_client with the trial arm; what it says goes into a file, as does what the arm is told."""
    site = install(tmp_path / "site")
    running = []

    def start(server: InferenceServer, name: str = "one", **said: str) -> Any:
        place = tmp_path / name
        place.mkdir()
        (place / "sent").touch()
        words = {
            "robot.type": "trial_arm", "robot.log": str(place / "sent"), "robot.id": "the_same",
            "server_address": f"127.0.0.1:{server.listeners.addresses['lerobot'][1]}", "policy_type": "offboard",
            "pretrained_name_or_path": "default", "policy_device": "cuda", "client_device": "cpu",
            "actions_per_chunk": "6", "chunk_size_threshold": "0.5", "task": "reach", **said,
        }  # fmt: skip
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        flags = words.items()
        with (place / "said").open("w") as said_there:
            process = subprocess.Popen(
                [sys.executable, "-m", "lerobot.async_inference.robot_client", *(f"--{n}={v}" for n, v in flags)],
                env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}, cwd=place,
                stdout=said_there, stderr=subprocess.STDOUT,
            )  # fmt: skip
        process.sent = lambda: (place / "sent").read_text().splitlines()  # type: ignore[attr-defined]
        process.said = (place / "said").read_text  # type: ignore[attr-defined]
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait(PATIENCE)


def moved(robot: Any, actions: int) -> bool:
    assert robot.poll() is None, robot.said()
    return len(robot.sent()) >= actions


def test_two_robots_of_one_name_drive_their_arms_side_by_side(robot_client):
    """Unmodified, at once, each with a session of its own; one is killed, the other goes on, and its place is free."""
    with serving() as (server, policy):
        robots = [robot_client(server, name) for name in ("one", "other")]
        for robot in robots:
            until(lambda robot=robot: moved(robot, 40), "the arm was told forty actions")
        assert get_json(server, "/api/v1/status")["sessions"] == 2
        assert len(policy.episodes) == 2
        robots[0].kill()
        until(lambda: get_json(server, "/api/v1/status")["sessions"] == 1, "the place of who was killed became free")
        before = len(robots[1].sent())
        until(lambda: moved(robots[1], before + 20), "the other one went on")
        robots[1].send_signal(signal.SIGINT)
        robots[1].wait(PATIENCE)
        until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "who ends lets go")
    for robot in robots:
        for line in robot.sent()[:-1]:
            assert json.loads(line) == pytest.approx({f"{name}.pos": at for at, name in enumerate(MOTORS)}, abs=1e-4)
    for episode in policy.episodes:
        assert episode.seen[0]["task"] == "reach"
        assert episode.seen[0]["image.front"].shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (
            {"pretrained_name_or_path": "lerobot/act_so101"},
            "model_not_found: there is no model 'lerobot/act_so101' here",
        ),
        ({"policy_type": "act"}, "a policy of the type act, and m is one of puppet"),
    ],
)
def test_a_robot_that_cannot_be_driven_says_why_and_ends(robot_client, said, says):
    with serving() as (server, _):
        robot = robot_client(server, **said)
        assert robot.wait(2 * PATIENCE) == 0
    assert "Failed to connect to policy server" in robot.said()
    assert says in robot.said()
    assert robot.sent() == []


def test_a_model_that_fails_is_told_to_the_robots_user(robot_client):
    """The arm holds still, which LeRobot's own server gives no reason for."""
    with serving() as (server, policy):
        policy.answer = lambda episode, inputs: 1 / 0
        robot = robot_client(server)
        until(lambda: "ZeroDivisionError" in robot.said(), "the client logged what the model raised")
        assert robot.poll() is None
        assert robot.sent() == []
        policy.answer = by_name
        until(lambda: moved(robot, 5), "it goes on when the model does")
