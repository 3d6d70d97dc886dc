"""LeRobot's own training, really run: what it leaves is served, gone on from, and kept whole."""

import importlib.util
import json
import shlex
import sys

import numpy as np
import pytest

if importlib.util.find_spec("datasets") is None or importlib.util.find_spec("accelerate") is None:
    pytest.skip("LeRobot's training is what this is about", allow_module_level=True)

from golden_codecs import observation
from lerobot_checkpoints import imported
from lerobot_data_set import LITTLE, write_data_set
from offboard_client import InferenceClient
from offboard_client.cli import main
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.checkpoints import read_record
from offboard_core.plugins import Plugins
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.training_runs import newest_whole, steps_in


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    imported()
    return write_data_set(tmp_path_factory.mktemp("data") / "cubes")


@pytest.fixture(autouse=True)
def caches_of_its_own(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "hf"))


def train(data, run, *more):
    return main(["train", "--vendor=lerobot", f"--dataset={data}", f"--output_dir={run}", *LITTLE, *more])


def under_a_limit(megabytes):
    """What runs LeRobot where no file may be larger: a stand-in for a disk that is full."""
    script = f'ulimit -f {megabytes * 2048}; exec {shlex.quote(sys.executable)} "$@"'
    return f"--lerobot-command=sh -c {shlex.quote(script)} sh"


def listed(run):
    return [found.id for found in LeRobotRegistry(str(run)).checkpoints()]


def asked(run, **flags):
    """The first chunk of the newest checkpoint, by a socket, and its handshake."""
    source = from_flags(Plugins.discover(), checkpoints_dir=str(run), loader_options={"device": "cpu"}, **flags)
    server = InferenceServer({"": source}, port=0)
    with server, InferenceClient(server.host, server.port) as client, client.new_session() as session:
        return session.infer({**observation(), "task": "stack"}), session.metadata


def weights(run, step):
    from safetensors.numpy import load_file

    return load_file(run / "checkpoints" / step / "pretrained_model" / "model.safetensors")


@pytest.mark.slow  # test_sim_stack.py has a whole loop in the short lane
def test_what_lerobot_trained_is_served_with_the_codec_of_its_data(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--steps=1") == 0
    assert "step 1 of 1, loss " in capsys.readouterr().err
    record = {"codec": "lerobot.ee", "action_fps": 15}
    assert read_record(run / "checkpoints" / "000001" / "pretrained_model") == record
    rows, meta = asked(run)
    assert (meta["codec"], meta["codec_source"], meta["action_fps"]) == ("lerobot.ee", "checkpoint", 15)
    assert len(rows) == 8
    assert rows[0]["action"]["target_pose"].shape == (7,)
    assert np.isfinite(rows[0]["action"]["target_pose"]).all()


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_and_learns(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--steps=2", "--save_freq=1") == 0
    before = weights(run, "000002")
    assert train(data, run, "--steps=4", "--save_freq=1", "--resume") == 0
    assert "step 4 of 4, loss " in capsys.readouterr().err
    assert listed(run) == ["000001", "000002", "000003", "000004"]
    state = run / "checkpoints" / "000004" / "training_state" / "training_step.json"
    assert json.loads(state.read_text())["step"] == 4
    after = weights(run, "000004")
    assert any((after[name] != before[name]).any() for name in before)
    assert max(abs(after[name] - before[name]).max() for name in before if before[name].dtype == np.float32) < 0.1, (
        "it went on, and did not begin anew"
    )
    asked(run)


@pytest.mark.slow
def test_a_disk_that_fills_leaves_the_checkpoints_before(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--steps=1", under_a_limit(20)) == 1
    assert "the disk is full" in " ".join(capsys.readouterr().err.split())
    assert not run.exists()
    assert train(data, run, "--steps=1") == 0
    capsys.readouterr()
    # The weights find room, and what a training goes on with does not.
    for megabytes in (20, 60):
        assert train(data, run, "--steps=2", "--resume", under_a_limit(megabytes)) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "Likely cause: the disk is full. Next: free some of it and go on with --resume" in said
        assert "000002 was not saved to its end, and is thrown away" in said
        assert listed(run) == ["000001"]
    assert train(data, run, "--steps=2", "--resume") == 0
    assert listed(run) == ["000001", "000002"]


@pytest.mark.slow
def test_wherever_a_save_is_cut_the_checkpoint_before_is_gone_on_from(data, tmp_path, caplog):
    run = tmp_path / "run"
    assert train(data, run, "--steps=2", "--save_freq=1") == 0
    first, second = steps_in(run)
    files = sorted((p for p in second.rglob("*") if p.is_file()), key=lambda path: path.stat().st_mtime_ns)
    files = [path for path in files if path.name != "offboard.json"]  # ours, and written when it is time for it
    assert len(files) >= 11
    for path in reversed(files):  # the last one of a save that was cut ever earlier
        with path.open("r+b") as cut:
            cut.truncate(path.stat().st_size - 1)
        assert newest_whole(run)[0] == first, path
        assert listed(run) == ["000001"] + ["000002"] * (path.parent.name == "training_state"), path
        path.unlink()
        assert newest_whole(run)[0] == first, path
    assert train(data, run, "--steps=2", "--save_freq=1", "--resume") == 0
    assert "the checkpoint 000002 is not whole" in caplog.text
    assert newest_whole(run) == (second, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--batchsize=4", "error: unrecognized arguments: --batchsize=4"),
        ("--steps=many", "`steps`: Couldn't parse 'many' into an int"),
        ("--policy.type=acts", "invalid choice: 'acts'"),
        ("--policy.chunk_size=4", "Couldn't instantiate class ACTConfig"),
    ],
)
def test_an_option_that_lerobot_refuses_is_told_in_its_own_words(data, tmp_path, capsys, option, reason):
    assert train(data, tmp_path / "run", "--steps=1", option) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert reason in said
    assert "Likely cause: LeRobot refuses an option" in said
    assert len(said) < 1500, "short"
    assert not (tmp_path / "run").exists()
