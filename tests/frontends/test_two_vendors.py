"""A LeRobot and an openpi source on one port, as ``offboard serve models.toml`` has them; one is loaded at a time."""

import gc
import json
import os
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from lerobot_checkpoints import save_policy
from offboard_client import InferenceClient, LoadFailed
from offboard_core import InferenceServer
from offboard_core.catalog import read_models, read_options
from offboard_core.engine import ServiceTimeouts
from offboard_core.frontends import make_frontends
from offboard_core.plugins import FRONTEND, Plugins
from offboard_process import serving
from openpi_standin import PYTHON, STANDIN, robot, write_run
from puppets import PATIENCE, until
from robots import connect_to

MODELS = """
[act]
vendor = "lerobot"
checkpoints_dir = "runs/act"
codec = "ee_traj"  # whose grip is 0 or 1, whatever the random weights answer

[pi]
vendor = "openpi"
checkpoints_dir = "runs/pi"
codec = "@positronic.vendors.openpi.codecs.ee"
options = {{ openpi_root = "{root}", openpi_command = "{python}" }}

[frontends.openpi]
codec = "ee"
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    save_policy(folder / "runs" / "act" / "checkpoints" / "000010" / "pretrained_model", "act")
    write_run(folder / "runs" / "pi", {1000: 0.75})
    path = folder / "models.toml"
    path.write_text(MODELS.format(root=STANDIN, python=PYTHON))
    return path


def children(run):
    """The processes that serve a checkpoint of this run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"serve_policy.py" in command and b"--policy.dir" in command and os.fsencode(run) in command:
            found.append(int(entry.name))
    return found


def opened(client, model):
    """A session with it, once the model before it has ended: on a busy machine later than the command waits for it."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return client.new_session(model)
        except LoadFailed as error:
            if "its last call has not returned yet" not in error.text or time.monotonic() > end:
                raise


@pytest.mark.slow  # In one process, beside it, it is in every run.
def test_the_command_serves_both_and_only_one_is_loaded(models):
    run = models.parent / "runs" / "pi"
    with serving(models) as (_, said), InferenceClient(said["host"], said["port"]) as client:
        assert said["models"] == ["act/000010", "pi/1000"]
        assert said["frontends"]["openpi"][0] == "/"
        for _ in range(2):
            with opened(client, "act") as session:
                assert session.metadata["type"] == "lerobot"
                assert len(session.infer(robot())) == 15
                assert children(run) == []
            with opened(client, "pi") as session:
                assert session.metadata["codec"] == "openpi.ee"
                assert session.infer(robot())[0]["action"]["target_pose"][1] == 0.75
                assert children(run) != []
                with urllib.request.urlopen(f"{said['url'].replace('ws', 'http', 1)}/api/v1/status") as answer:
                    assert json.load(answer)["loaded"]["model"] == "pi/1000"
        # The default is the first source; openpi's robots get it with their own keys.
        with opened(client, "act"), connect_to(said["url"]) as plain:
            assert isinstance(plain.recv(timeout=PATIENCE), bytes)
    until(lambda: children(run) == [], "openpi's server ended with ours")


def policies():
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing).__name__ == "ACTPolicy"]


def test_switching_frees_the_memory_of_the_first(models):
    plugins = Plugins.discover()
    frontends = make_frontends(plugins, read_options(models, FRONTEND))
    sources = read_models(models, plugins)
    assert policies() == []
    with (
        InferenceServer(sources, port=0, frontends=frontends, limits=ServiceTimeouts(close=PATIENCE)) as server,
        InferenceClient(server.host, server.port) as client,
    ):
        with client.new_session("act") as session:
            session.infer(robot())
            assert len(policies()) == 1
        with client.new_session("pi") as session:
            np.testing.assert_allclose(session.infer(robot())[0]["action"]["target_grip"], [0.75])
            assert policies() == []
        with client.new_session("act") as session:
            session.infer(robot())
            assert children(models.parent / "runs" / "pi") == []
