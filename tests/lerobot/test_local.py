"""A checkpoint in the robot's own process answers what it answers on a server, to the bit."""

import json

import numpy as np
import pytest
from golden_codecs import observation
from offboard_client import InferenceClient
from offboard_client.cli import main
from offboard_client.play import choose_policy, open_policy
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins

#: The codec is the same object on both sides, and tests/lerobot/test_codecs.py knows each: one is in every run.
CODECS = ["joints_traj", pytest.param("ee_traj", marks=pytest.mark.slow)]


@pytest.mark.parametrize("codec", CODECS)
def test_an_act_is_served_and_local_to_the_bit(act, codec):
    options = {"checkpoints_dir": str(act), "codec": codec, "fps": 10.0}
    source = from_flags(Plugins.discover(), loader_options={"device": "cpu"}, **options)
    chosen = choose_policy("local:lerobot")
    with (
        InferenceServer({"": source}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as served,
        open_policy(chosen, chosen.options()(device="cpu", **options), lambda status: None) as local,
    ):
        assert local.metadata["spec_hash"] == served.metadata["spec_hash"]
        for grip in (0.1, 0.5):
            sent = {**observation(), "grip": np.array([grip], np.float32)}
            expected, found = served.infer(sent), local.infer(sent)
            assert len(found) == len(expected) > 0
            for a, b in zip(expected, found, strict=True):
                assert a["timestamp"] == b["timestamp"]
                assert a["action"].keys() == b["action"].keys()
                for name, value in a["action"].items():
                    np.testing.assert_array_equal(value, b["action"][name])


def test_offboard_run_finds_the_files_vendor(act, capsys):
    arguments = ["--checkpoints-dir", str(act), "--codec", "joints_traj", "--fps", "10", "--seconds", "0.2", "--json"]
    assert main(["run", "sim", "--policy", "local:lerobot", "--device", "cpu", *arguments]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["exchanges"] >= 1


def test_a_local_policy_is_named_as_positronic_names_it(act, capsys):
    theirs = (
        f"--policy=@positronic.cfg.policy.act_absolute --policy.base.checkpoints_dir={act} --policy.base.device=cpu"
    )
    length = "--driver.simulation_time=0.2 --driver.num_iterations=1 --fps 10 --json"
    codec = "--policy.codec=@positronic.vendors.lerobot.codecs.joints_traj"
    assert main(["run", "sim", *theirs.split(), *length.split(), codec]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["exchanges"] >= 1
    assert main(["check", "sim", *theirs.split(), "--fps", "10", "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["meta"]["codec"] == "lerobot.ee"
