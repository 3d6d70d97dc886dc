"""Statistics and training by openpi's own command lines; what is recorded decides how it is served."""

import json
import subprocess
import sys

import pytest
from offboard_client.cli import main
from offboard_client.errors import ConfigurationError
from offboard_core.catalog import from_flags
from offboard_core.checkpoints import read_record, write_record
from offboard_core.cli import TrainingLine
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_openpi.diagnosis import explain_training
from openpi_standin import PYTHON, STANDIN, options, robot

CONFIG = "pi05_positronic_lowmem"


@pytest.fixture
def data(tmp_path):
    """As much of a LeRobot data set as the stand-in looks at."""
    folder = tmp_path / "my_lerobot_data"
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text('{"total_frames": 321}')
    return folder


def offboard(command, *arguments):
    return main([command, "--vendor", "openpi", f"--openpi-root={STANDIN}", f"--openpi-command={PYTHON}", *arguments])


@pytest.fixture
def stats(data, tmp_path):
    assert offboard("stats", f"--input_path={data}", f"--output_path={tmp_path / 'openpi_assets'}") == 0
    return tmp_path / "openpi_assets" / "assets"


def train(data, stats, out, *more):
    return offboard(
        "train", f"--input_path={data}", f"--stats_path={stats}", f"--output_path={out}", "--exp_name=v1", *more
    )


def steps(run):
    return sorted(int(path.name) for path in run.iterdir() if path.name.isdigit())


@pytest.fixture
def trained(data, stats, tmp_path):
    out = tmp_path / "checkpoints"
    assert train(data, stats, out, "--num_train_steps=3") == 0
    return out / CONFIG / "v1"


def test_nan_is_neither_counted_nor_trained_on(data, stats, tmp_path, capsys):
    written = stats / CONFIG / "lerobot" / "norm_stats.json"
    good = written.read_text()
    written.write_text(good.replace("321.0", "NaN", 1))
    assert train(data, stats, tmp_path / "out", "--num_train_steps=3") == 1
    assert "holds NaN or an infinity" in " ".join(capsys.readouterr().err.split())
    written.write_text(good)
    info = {"total_frames": 321, "features": {"state": {"dtype": "float32", "shape": [8]}}}
    (data / "meta" / "info.json").write_text(json.dumps(info))
    (data / "meta" / "episodes_stats.jsonl").write_text('{"episode_index": 7, "stats": {"state": {"mean": [NaN]}}}\n')
    assert train(data, stats, tmp_path / "out", "--num_train_steps=3") == 1
    assert "numbers in state that are NaN or infinite" in " ".join(capsys.readouterr().err.split())
    assert offboard("stats", f"--input_path={data}", f"--output_path={tmp_path / 'more'}") == 1
    assert "numbers in state that are NaN or infinite" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / CONFIG / "v1").exists()


def test_statistics_go_where_training_looks_for_them(stats, capsys, data, tmp_path):
    written = json.loads((stats / CONFIG / "lerobot" / "norm_stats.json").read_text())
    assert written["norm_stats"]["state"]["q99"] == [321.0] * 8, "of this data set"
    assert not (STANDIN / "assets").exists(), "nothing is written into the checkout"
    assert (
        offboard("stats", f"--input-path={data}", f"--output-path={tmp_path / 'o'}", "--max-frames", "9", "--json") == 0
    )
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"statistics": str(tmp_path / "o" / "assets")}
    written = json.loads((tmp_path / "o" / "assets" / CONFIG / "lerobot" / "norm_stats.json").read_text())
    assert written["norm_stats"]["state"]["q99"] == [9.0] * 8


def test_training_records_what_serving_needs(trained, tmp_path):
    assert steps(trained) == [2]
    assert read_record(trained) == {"codec": "openpi.ee", "action_fps": 15.0, "config_name": CONFIG}
    assert json.loads((trained / "seen.json").read_text()) == {"wandb": False, "memory": "0.9"}
    source = from_flags(Plugins.discover(), checkpoints_dir=str(trained), loader_options=options())
    checkpoint = source.default()
    resolved = source.codec.resolve(checkpoint, {})
    assert (resolved.name, resolved.source) == ("openpi.ee", "checkpoint")
    policy = source.loader.load(checkpoint, lambda _: None)
    try:
        session = policy.new_session(policy.params())
        assert len(session.infer(resolved.encode(robot()), NO_CONTEXT)) == 50
    finally:
        policy.close()
    wrong = from_flags(Plugins.discover(), checkpoints_dir=str(trained), codec="ee_joints", loader_options=options())
    with pytest.raises(ConfigurationError, match=r"asks for openpi\.ee_joints, .* trained with openpi\.ee, "):
        wrong.codec.resolve(wrong.default(), {})


def test_a_run_goes_on_or_begins_anew_only_if_that_is_said(trained, data, stats, tmp_path, capsys):
    out = tmp_path / "checkpoints"
    assert train(data, stats, out, "--num-train-steps=5") == 1
    assert "holds the checkpoints 2; go on with --resume" in capsys.readouterr().err
    assert train(data, stats, out, "--num-train-steps=5", "--resume=True") == 0
    assert steps(trained) == [2, 4]
    assert train(data, stats, out, "--num-train-steps=6", "--resume", "--codec=ee_joints") == 1
    told = capsys.readouterr().err
    assert "trained with codec 'openpi.ee'" in told
    assert "go on with 'openpi.ee_joints'" in told
    assert train(data, stats, out, "--num-train-steps=2", "--overwrite", "--codec=joints_traj", "--fps=10") == 0
    assert steps(trained) == [1]
    assert read_record(trained) == {"codec": "openpi.joints_traj", "action_fps": 10.0, "config_name": CONFIG}


def test_a_run_that_is_thrown_away_is_gone_before_openpi_starts(trained, data, stats, tmp_path, capsys):
    """If both emptied and filled the folder, openpi's own clearing failed now and then."""
    look = tmp_path / "look.py"
    look.write_text(f"import os\nraise SystemExit(5 if os.path.exists({str(trained)!r}) else 4)\n")
    out = tmp_path / "checkpoints"
    assert train(data, stats, out, "--overwrite", f"--openpi-command={PYTHON} {look}") == 1
    assert "exited with code 4" in capsys.readouterr().err


def test_an_experiment_of_its_own_name_that_was_never_begun(data, stats, tmp_path, capsys):
    assert train(data, stats, tmp_path / "out", "--resume") == 1
    assert "no checkpoint in" in capsys.readouterr().err
    assert train(data, stats, tmp_path / "out", "--resume", "--overwrite") == 1
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["--codec=droid"], "the codec openpi.droid is for serving only"),
        (["--codec=eee"], "did you mean"),
        (["ee_joints"], "there is no variant of openpi 'ee_joints'"),
        (["--config-name=pi05_driod"], "has no config 'pi05_driod'; Did you mean"),
        (["--stats_path=/nowhere"], "holds no pi05_positronic_lowmem/"),
        (["--input_path=/nowhere"], "is no LeRobot data set"),
        (["--openpi-command=no-such-program"], "correct --openpi-command"),
        (["--repo-id=../x"], "repo_id is '../x'"),
        (["--extra-args=--note 'x"], 'extra_args is "--note \'x", which no shell would read'),
        (["--openpi-command=python 'x"], "No closing quotation"),
        (["--extra-args=--batch-sise 3"], "OpenPI subprocess exited with code 2"),
    ],
)
def test_what_is_wrong_is_said(data, stats, tmp_path, capsys, change, reason):
    assert train(data, stats, tmp_path / "out", *change) != 0
    assert reason in capsys.readouterr().err


def test_an_option_that_nobody_declares_is_refused(data, stats, tmp_path, capsys):
    """Other vendors hand all that is unknown to their own training."""
    assert train(data, stats, tmp_path / "out", "--batch_size=4") == 2
    assert "--batch_size=4" in capsys.readouterr().err


def test_statistics_one_folder_too_high(data, stats, tmp_path, capsys):
    assert train(data, stats.parent, tmp_path / "out") == 1
    assert f"is {stats} meant?" in capsys.readouterr().err


def test_a_crash_comes_with_the_end_of_the_log(data, stats, tmp_path, capsys):
    assert train(data, stats, tmp_path / "out", "--repo-id=another") == 1
    told = capsys.readouterr().err
    assert "OpenPI subprocess exited with code 1. The end of its log:" in told
    assert "FileNotFoundError: no data set at" in told
    assert f"see that {data} is wholly copied" in " ".join(told.split())


def test_statistics_that_fail_are_explained_as_statistics(data, tmp_path, capsys):
    (data / "meta" / "info.json").write_text('{"codebase_version": "v2.1"}')
    assert offboard("stats", f"--input_path={data}", f"--output_path={tmp_path / 'o'}") == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "KeyError: 'total_frames'" in told
    assert f"finish or convert the data set in {data}" in told
    assert "serve" not in told


@pytest.mark.parametrize("script", ["compute_norm_stats.py", "train.py"])
@pytest.mark.parametrize(
    ("log", "step"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory", "--batch-size"),
        (
            "lerobot.BackwardCompatibilityError: The dataset you requested is in v3.0 format",
            "convert the data set in /d",
        ),
        ("DataLoader worker (pid 7) is killed by signal: Bus error.", "--num-workers 0"),
        ("train.py: error: unrecognized arguments: --batch-sise 3", "correct --extra-args"),
        ("ValueError: Normalization stats not found. Make sure to run", "`offboard stats`"),
        ("FileNotFoundError: no data set at /x", "see that /d is wholly copied"),
        ("something that nobody has seen before", "a config for the data set in /d"),
    ],
)
def test_no_step_of_training_is_explained_by_how_to_serve(script, log, step):
    told = explain_training(log, script=script, config="my_config", data="/d", root="/openpi").text
    assert step in told
    assert not {"serve_policy.py", "checkpoint", "--startup-timeout", "--openpi-ws-port"} & set(told.split())
    assert "{" not in told


def test_progress_is_shown(data, tmp_path):
    arguments = ["stats", "--vendor", "openpi", f"--openpi-root={STANDIN}", f"--openpi-command={PYTHON}"]
    arguments += [f"--input-path={data}", f"--output-path={tmp_path / 'o'}"]
    done = subprocess.run(
        [sys.executable, "-m", "offboard_client.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert "Writing stats to: " in done.stderr
    assert done.stdout.startswith("statistics: ")


def test_the_last_line_is_shown_however_soon_it_follows(capsys):
    with TrainingLine() as progress:
        for line in ("starting", "50%", "Writing\x1b]0;x\x07", "Writing\x1b]0;x\x07"):
            progress.report(line)
    assert capsys.readouterr().err == "starting\nWriting\\x1b]0;x\\x07\n"


def test_a_record_is_not_overwritten_by_another(tmp_path):
    write_record(tmp_path, {"codec": "a.b"})
    write_record(tmp_path, {"codec": "a.b", "action_fps": 5.0})
    assert read_record(tmp_path) == {"codec": "a.b", "action_fps": 5.0}
    with pytest.raises(ConfigurationError, match=r"codec is 'a\.b', and now it would be 'c\.d'"):
        write_record(tmp_path, {"codec": "c.d"})
    (tmp_path / "offboard.json").write_text("[")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_record(tmp_path)
