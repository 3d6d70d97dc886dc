"""``offboard train --vendor lerobot``: what LeRobot is told, what is beside its checkpoints, and what is refused.

LeRobot's training is a stand-in here; ``test_trained.py`` runs the real one.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress

import lerobot_train_standin
import numpy as np
import pytest
from lerobot_checkpoints import SIDE, write_safetensors
from offboard_client.cli import main
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.catalog import from_flags
from offboard_core.checkpoints import read_record
from offboard_core.plugins import Plugins
from offboard_lerobot import training_log
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.training_runs import newest_whole
from waits import until

PLUGINS = Plugins.discover()
STANDIN = f"{shlex.quote(sys.executable)} {shlex.quote(lerobot_train_standin.__file__)}"


with suppress(ImportError):  # without it, rows are not looked at
    import pyarrow as pa
    import pyarrow.parquet as pq

LARGE = {"dtype": "video", "shape": [96, 96, 3], "names": ["height", "width", "channels"]}


def data_set(folder, codec="lerobot.ee", *, fps=15, said=None, **changes):
    """As much of a data set as is looked at before LeRobot reads it. ``said``: by `offboard convert`."""
    image = {"dtype": "video", "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channels"]}
    vector = {"dtype": "float32", "shape": [8], "names": None}
    columns = {
        "observation.state": vector, "observation.images.left": image, "observation.images.side": image,
        "action": vector, "timestamp": {"dtype": "float32", "shape": [1]},
    }  # fmt: skip
    columns = {name: column for name, column in {**columns, **changes}.items() if column is not None}
    info = {"codebase_version": "v3.0", "fps": fps, "features": columns}
    for name in ("meta/episodes/chunk-000/file-000.parquet", "data/chunk-000/file-000.parquet", "meta/tasks.parquet"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if "pq" in globals():
        rows(folder, {"action": [[0.5] * 8] * 4})
    for name, column in columns.items():
        if column["dtype"] == "video":
            path = folder / "videos" / name / "chunk-000" / "file-000.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (folder / "meta" / "stats.json").write_text("{}")
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    if codec is not None:
        record = {"codec": codec, "fps": fps, "options": {}, **(said or {})}
        (folder / "meta" / "offboard.json").write_text(json.dumps(record))
    return folder


def rows(folder, columns):
    """The frames of it, as far as they are numbers."""
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def data(tmp_path):
    return data_set(tmp_path / "cubes")


def arguments(data, out, *more, steps=3, standin=STANDIN):
    return [
        "train", "--vendor=lerobot", f"--lerobot-command={standin}", f"--dataset={data}", f"--output_dir={out}",
        f"--steps={steps}", *more,
    ]  # fmt: skip


def train(data, out, *more, **how):
    return main(arguments(data, out, *more, **how))


def steps(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir() if path.name != "last")


def told(run):
    """What the newest checkpoint's training was told."""
    path = newest_whole(run)[0] / "pretrained_model" / "train_config.json"
    return json.loads(path.read_text())


def complaint(capsys):
    return " ".join(capsys.readouterr().err.split())


# -- what is left ------------------------------------------------------------------------------------------


def test_each_checkpoint_says_its_codec_and_lerobots_layout_is_untouched(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--save_freq=2") == 0
    out = capsys.readouterr()
    assert f"checkpoints: {run}\ncodec: lerobot.ee\naction_fps: 15" in out.out
    assert "step 3 of 3, loss 3.244" in out.err
    assert steps(run) == ["000002", "000003"]
    assert os.readlink(run / "checkpoints" / "last") == "000003"
    record = {"codec": "lerobot.ee", "action_fps": 15}
    assert [read_record(run / "checkpoints" / step / "pretrained_model") for step in steps(run)] == [record, record]
    assert {path.name for path in (run / "checkpoints" / "000003").iterdir()} == {"pretrained_model", "training_state"}
    assert [found.recorded for found in LeRobotRegistry(str(run)).checkpoints()] == [record, record]


def test_serving_takes_the_codec_and_refuses_another(data, tmp_path):
    assert train(data, tmp_path / "run") == 0
    flags = {"checkpoints_dir": str(tmp_path / "run"), "vendor": "lerobot"}
    source = from_flags(PLUGINS, **flags)
    resolved = source.codec.resolve(source.default(), {})
    assert (resolved.name, resolved.source, resolved.meta.action_fps) == ("lerobot.ee", "checkpoint", 15)
    other = from_flags(PLUGINS, **flags, codec="joints")
    with pytest.raises(ConfigurationError, match=r"asks for lerobot\.joints, but .* was trained with lerobot\.ee"):
        other.codec.resolve(other.default(), {})


def test_what_the_codec_was_told_for_the_data_is_told_it_when_it_serves(tmp_path):
    """Else the model sees another camera, and other numbers, than it was trained on."""
    told_it = {"map": {"image.front": "side"}, "binarize_state_grip": True}
    data = data_set(tmp_path / "cubes", said={"options": {"fps": 15.0, "horizon_sec": 0.5, "cameras": None, **told_it}})
    assert train(data, tmp_path / "run") == 0
    record = {"codec": "lerobot.ee", "action_fps": 15, "codec_options": told_it}
    assert read_record(tmp_path / "run") == record
    flags = {"checkpoints_dir": str(tmp_path / "run"), "vendor": "lerobot"}
    source = from_flags(PLUGINS, **flags)
    found = source.codec.resolve(source.default(), {})
    assert (found.options.map, found.options.binarize_state_grip) == ({"image.front": "side"}, True)
    assert found.options.horizon_sec == 1.0, "how much of a chunk is played is no matter of the data"
    assert "image.front" in found.meta.observation
    other = from_flags(PLUGINS, **flags, codec_options={"map": {"image.exterior": "side"}})
    assert "image.front" not in other.codec.resolve(other.default(), {}).meta.observation, "a person's word rules"
    one = {"map": {"image.front": "side"}, "cameras": "image.wrist, image.front"}
    data = data_set(tmp_path / "two", said={"options": one})
    assert train(data, tmp_path / "other") == 0
    other = from_flags(
        PLUGINS, checkpoints_dir=str(tmp_path / "other"), vendor="lerobot", codec_options={"map": {"image.top": "side"}}
    )
    reads = other.codec.resolve(other.default(), {}).meta.observation
    assert {name for name in reads if name.startswith("image")} == {"image.wrist", "image.top"}
    asked = source.codec.resolve(source.default(), {"binarize_state_grip": False})
    assert not asked.options.binarize_state_grip
    assert asked.options.map == {"image.front": "side"}


def test_a_checkpoint_is_never_without_a_record_that_its_run_has(data, tmp_path):
    """It is whole before anybody could have written one into it."""
    run = tmp_path / "run"
    assert train(data, run) == 0
    (run / "checkpoints" / "000003" / "pretrained_model" / "offboard.json").unlink()
    registry = LeRobotRegistry(str(run))
    assert registry.default().recorded == {"codec": "lerobot.ee", "action_fps": 15}
    (run / "offboard.json").write_text('{"codec": "lerobot.joints"}')
    assert registry.default().recorded == {"codec": "lerobot.joints"}, "one that was corrected is read again"


def test_of_a_data_set_that_lerobot_recorded_the_rate_alone_is_known(tmp_path, capsys):
    data = data_set(tmp_path / "so101", None, fps=30)
    assert train(data, tmp_path / "run") == 0
    assert read_record(tmp_path / "run") == {"action_fps": 30}
    assert "codec" not in capsys.readouterr().out
    source = from_flags(PLUGINS, checkpoints_dir=str(tmp_path / "run"), vendor="lerobot")
    resolved = source.codec.resolve(source.default(), {})
    assert (resolved.name, resolved.source, resolved.meta.action_fps) == ("lerobot.native", "default", 30)
    assert train(data, tmp_path / "said", "--codec=ee") == 0
    assert read_record(tmp_path / "said") == {"codec": "lerobot.ee", "action_fps": 30}


# -- what LeRobot is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "seen"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_its_threads_sleep_while_they_wait_unless_somebody_says_otherwise(data, tmp_path, monkeypatch, said, seen):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if said:
        monkeypatch.setenv("OMP_WAIT_POLICY", said)
    assert train(data, tmp_path / "run") == 0
    state = newest_whole(tmp_path / "run")[0] / "training_state"
    assert json.loads((state / "environment.json").read_text())["OMP_WAIT_POLICY"] == seen


def test_every_option_of_lerobots_passes_through_and_nothing_is_reported_unasked(data, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k")
    more = ["--batch-size", "4", "--policy.chunk-size=50", "--policy.optimizer_lr", "-1", "--extra-args=--log_freq=7"]
    assert train(data, tmp_path / "run", *more) == 0
    said = told(tmp_path / "run")
    assert (said["batch_size"], said["policy.chunk_size"], said["policy.optimizer_lr"], said["log_freq"]) == (
        "4", "50", "-1", "7",
    )  # fmt: skip
    assert (said["policy.type"], said["dataset.repo_id"]) == ("act", "offboard/cubes")
    assert (said["wandb.enable"], said["policy.push_to_hub"]) == ("false", "false")
    asked = ["--wandb", "--policy.push_to_hub=true", "--policy=diffusion", "--exp_name=v1"]
    assert train(data, tmp_path, *asked) == 0
    said = told(tmp_path / "v1")
    assert (said["wandb.enable"], said["policy.push_to_hub"], said["policy.type"]) == ("true", "true", "diffusion")
    assert said["job_name"] == "v1"


def test_the_seeds_flags_are_taken_as_they_are_written(data, tmp_path):
    seeds = [
        "train", "--vendor=lerobot", f"--lerobot-command={STANDIN}", f"--input_path={data}", "--exp_name=v1",
        f"--output_dir={tmp_path / 'out'}", "--codec=@positronic.vendors.lerobot.codecs.ee", "--num_train_steps=2",
        "--backbone=resnet34", "--save_freq=1",
    ]  # fmt: skip
    assert main(seeds) == 0
    run = tmp_path / "out" / "v1"
    assert steps(run) == ["000001", "000002"]
    said = told(run)
    assert (said["policy.vision_backbone"], said["steps"]) == ("resnet34", "2")
    assert said["policy.pretrained_backbone_weights"] == "ResNet34_Weights.IMAGENET1K_V1", "resnet18's do not fit it"
    assert main([*seeds, "--resume=True", "--num_train_steps=3"]) == 0
    assert steps(run) == ["000001", "000002", "000003"]


# -- going on ----------------------------------------------------------------------------------------------


def test_a_run_goes_on_or_begins_anew_only_if_that_is_said(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run) == 0
    assert train(data, run, steps=5) == 1
    assert "holds the checkpoints 000003; go on with --resume" in complaint(capsys)
    assert train(data, run, "--resume", steps=5) == 0
    assert "step 5 of 5" in capsys.readouterr().err, "counted from the beginning of the run"
    assert steps(run) == ["000003", "000005"]
    assert (
        main(["train", "--vendor=lerobot", f"--lerobot-command={STANDIN}", f"--output-dir={run}", "--resume"]) == 0
    ), "the data set and the policy are known"
    assert train(data, run, "--resume", "--policy=diffusion", steps=6) == 1
    assert "--policy asks for diffusion, and" in complaint(capsys)
    assert train(data, run, "--overwrite", "--policy=diffusion", steps=2) == 0
    assert steps(run) == ["000002"]
    assert train(data, tmp_path / "out", "--resume") == 1
    assert "no checkpoint in" in complaint(capsys)


def test_what_was_killed_while_it_saved_is_neither_served_nor_gone_on_from(data, tmp_path, caplog):
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "offboard_client.cli",
        *arguments(data, run, "--save_freq=2", "--standin.stay=4", steps=6),
    ]
    cut = run / "checkpoints" / "000004" / "pretrained_model" / "model.safetensors"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        try:
            until(lambda: cut.is_file() and not cut.with_name("policy_preprocessor.json").exists(), "half a save")
        finally:
            running.send_signal(signal.SIGKILL)
    assert [found.id for found in LeRobotRegistry(str(run)).checkpoints()] == ["000002"]
    assert train(data, run, "--resume", "--save_freq=2", steps=6) == 0
    assert "the checkpoint 000004 is not whole (model.safetensors" in caplog.text
    assert "going on from 000002" in caplog.text
    assert steps(run) == ["000002", "000004", "000006"]
    assert [found.id for found in LeRobotRegistry(str(run)).checkpoints()] == steps(run)


@pytest.mark.parametrize(
    "name",
    ["optimizer_state.safetensors", "rng_state.safetensors", "training_step.json", "optimizer_param_groups.json"],
)
def test_what_can_be_served_and_not_trained_is_not_gone_on_from(data, tmp_path, caplog, name):
    run = tmp_path / "run"
    assert train(data, run, "--save_freq=2") == 0
    path = run / "checkpoints" / "000003" / "training_state" / name
    path.write_bytes(path.read_bytes()[:-1])
    assert len(LeRobotRegistry(str(run)).checkpoints()) == 2
    assert train(data, run, "--resume", steps=4) == 0
    assert f"the checkpoint 000003 is not whole ({name}" in caplog.text


def test_a_disk_that_fills_leaves_no_half_checkpoint(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run, "--save_freq=2", "--standin.cut=4", steps=5) == 1
    said = complaint(capsys)
    assert "OSError: [Errno 28] No space left on device" in said
    assert "Likely cause: the disk is full. Next: free some of it and go on with --resume" in said
    assert "000004 was not saved to its end, and is thrown away" in said
    assert 'File "x.py"' not in said, "no trace"
    assert steps(run) == ["000002"]
    assert train(data, run, "--resume", steps=5) == 0
    assert train(data, tmp_path / "none", "--standin.cut=3") == 1
    assert not (tmp_path / "none").exists(), "a run that came to nothing is none"


def test_a_run_of_before_processors_is_migrated_and_not_gone_on_with(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run) == 0
    model = run / "checkpoints" / "000003" / "pretrained_model"
    for path in model.glob("policy_*"):
        path.unlink()
    write_safetensors(model / "model.safetensors", **{"normalize_inputs.buffer_observation_state.mean": [0.0]})
    alone = ["train", "--vendor=lerobot", f"--lerobot-command={STANDIN}", f"--output-dir={run}", "--resume"]
    for words in (alone, arguments(data, run, "--resume", steps=5)):
        assert main(words) == 1
        said = complaint(capsys)
        assert "was written by LeRobot before 0.4: migrate it (python -m lerobot.processor.migrate_policy_n" in said


def test_where_no_checkpoint_is_whole_the_way_on_is_named(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run) == 0
    (run / "checkpoints" / "000003" / "training_state" / "training_step.json").unlink()
    assert train(data, run, "--resume", steps=5) == 1
    said = complaint(capsys)
    assert "no whole checkpoint" in said
    assert "Begin anew with --overwrite" in said


# -- bad input ---------------------------------------------------------------------------------------------


def test_another_data_set_than_the_run_began_with_is_refused(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run) == 0
    wide = {"dtype": "float32", "shape": [7], "names": None}
    for number, (other, reason) in enumerate(
        {
            "fps": ({"fps": 30}, "trained with action_fps 15, its offboard.json says, and is to go on with 30"),
            "codec": (
                {"codec": "lerobot.joints"},
                "trained with codec 'lerobot.ee', its offboard.json says, and is to",
            ),
            "width": (
                {"codec": None, "observation.state": wide},
                "has observation.state [7], and it was trained on [8]",
            ),
            "camera": ({"codec": None, "observation.images.side": None}, "has no observation.images.side"),
            "size": (
                {"codec": None, "observation.images.side": LARGE},
                "has observation.images.side [96, 96, 3], and the",
            ),
            "more": (
                {"codec": None, "observation.images.top": LARGE},
                "has observation.images.top [96, 96, 3], and the run",
            ),
        }.values()
    ):
        other = data_set(tmp_path / f"other{number}", **other)
        assert train(other, run, "--resume", steps=5) == 1
        assert reason in complaint(capsys)
    assert steps(run) == ["000003"]
    assert train(data_set(tmp_path / "moved"), run, "--resume", steps=4) == 0, "the same elsewhere will do"


@pytest.mark.parametrize(
    ("anew", "reason"),
    [
        ({"codec": "lerobot.joints"}, "trained with codec 'lerobot.ee', its offboard.json says, and is to go on with"),
        ({"fps": 30}, "trained with action_fps 15, its offboard.json says, and is to go on with 30"),
        (
            {"said": {"options": {"binarize_state_grip": True}}},
            "trained with codec_options {}, its offboard.json says, and is to go on with {'binarize_state_grip': True}",
        ),
        ({"observation.images.side": LARGE}, "has observation.images.side [96, 96, 3], and the run began with [64, 64"),
        (
            {"observation.state": {"dtype": "float32", "shape": [8], "names": ["a"]}},
            "has observation.state [8] ['a'], and the run began with [8] (",
        ),
    ],
)
def test_a_data_set_that_was_made_anew_in_its_place_is_not_gone_on_with(data, tmp_path, capsys, anew, reason):
    run = tmp_path / "run"
    assert train(data, run) == 0
    assert train(data, run, "--resume", steps=4) == 0
    data_set(data, **anew)
    for _ in range(2):
        assert train(data, run, "--resume", steps=5) == 1
        assert reason.replace("[64, 64", f"[{SIDE}, {SIDE}") in complaint(capsys)
    assert steps(run) == ["000003", "000004"]


def test_a_run_that_began_with_options_of_its_codec_does_not_go_on_without(tmp_path, capsys):
    data, told_it = tmp_path / "cubes", {"binarize_state_grip": True}
    assert train(data_set(data, said={"options": told_it}), tmp_path / "run") == 0
    assert train(data_set(data), tmp_path / "run", "--resume", steps=5) == 1
    assert "codec_options {'binarize_state_grip': True}, its offboard.json says, and is to go on with {}" in complaint(
        capsys
    )


@pytest.mark.parametrize(
    ("made", "more", "reason"),
    [
        ({}, ["--codec=joints"], "--codec asks for lerobot.joints, but the data set was made with lerobot.ee"),
        ({}, ["--fps=30"], "--fps says 30, and the data set has 15 steps per second"),
        ({"codec": "mylab.arm"}, [], "the data set was made with a codec that is not here: "),
        ({"said": {"fps": 30}}, [], "meta/offboard.json says 30 steps per second, and meta/info.json says 15"),
        ({"said": {"options": 3}}, [], "says that options is 3, expected a map of the codec's options"),
        ({"said": {"options": {"grp": 1}}}, [], "no option 'grp'"),
        ({"said": {"codec": 3}}, [], "says that codec is 3 and fps is 15, expected a codec's name and a number"),
        ({"codec": None}, ["--codec=motors"], "lerobot.motors is made of a checkpoint, and there is none"),
        ({"observation.state": None}, [], "was not made with the codec lerobot.ee: it has no column observation.state"),
        ({"observation.images.top": {"dtype": "image", "shape": [9, 9, 3]}}, [], "has the column observation.images."),
        ({"action": {"dtype": "float32", "shape": [7]}}, [], "its column action is float32 [7], and [8] in the codec"),
        ({"observation.images.left": {"dtype": "float32", "shape": [8]}}, [], "and an image in the codec"),
    ],
)  # fmt: skip
def test_a_data_set_that_is_not_what_is_said_of_it_is_refused(tmp_path, capsys, made, more, reason):
    assert train(data_set(tmp_path / "cubes", **made), tmp_path / "run", *more) == 1
    assert reason in complaint(capsys)
    assert not (tmp_path / "run").exists()


def test_a_data_set_of_one_camera_is_trained_on_where_it_was_asked_for(tmp_path, capsys):
    asked = {"options": {"cameras": "image.wrist", "map": {}}}
    assert train(data_set(tmp_path / "one", said=asked, **{"observation.images.side": None}), tmp_path / "run") == 0
    assert train(data_set(tmp_path / "lost", **{"observation.images.side": None}), tmp_path / "other") == 1
    assert "it has no column observation.images.side" in complaint(capsys)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("meta/info.json", "is no LeRobot data set: it has no meta/info.json"),
        ("meta/stats.json", "has no meta/stats.json, which LeRobot trains with: is it wholly copied?"),
        ("meta/tasks.parquet", "has no meta/tasks.parquet"),
        ("data/chunk-000/file-000.parquet", "has no frames"),
        ("videos/observation.images.left/chunk-000/file-000.mp4", "has no videos of observation.images.left"),
    ],
)
def test_a_data_set_that_is_half_there_is_refused_and_asked_for_nowhere(data, tmp_path, capsys, broken, reason):
    (data / broken).unlink()
    assert train(data, tmp_path / "run") == 1
    assert reason in complaint(capsys)


@pytest.mark.parametrize(
    ("stats", "reason"),
    [
        ('{"observation.state": {"mean": [0.5, NaN]}}', "has numbers in observation.state that are NaN or infinite"),
        ('{"action": {"mean": [Infinity]}, "timestamp": {"mean": [NaN]}}', "has numbers in action that are NaN"),
        ('{"action": {"mean": "x"}}', "meta/stats.json cannot be read"), ("{", "meta/stats.json cannot be read"),
        ('{"action": {}}', "meta/stats.json cannot be read"),
    ],
)  # fmt: skip
def test_nan_is_not_trained_on(data, tmp_path, capsys, stats, reason):
    (data / "meta" / "stats.json").write_text(stats)
    assert train(data, tmp_path / "run") == 1
    assert reason in complaint(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [np.nan, -np.inf, None])
@pytest.mark.parametrize("stats", ["{}", '{"action": {"mean": [0.5]}}'])
def test_nan_that_the_statistics_do_not_tell_of_is_found_in_the_rows(data, tmp_path, capsys, number, stats):
    """Of a set without the column's statistics, and of one whose maker left NaN out of the means."""
    pytest.importorskip("pyarrow")
    (data / "meta" / "stats.json").write_text(stats)
    actions = [[0.5] * 8 for _ in range(4)]
    actions[2][3] = number
    path = rows(data, {"observation.state": [[0.5] * 8] * 4, "action": actions})
    assert train(data, tmp_path / "run") == 1
    reason = "has numbers in action that are NaN, infinite or missing, in the rows of data/chunk-000/file-000.parquet"
    assert reason in complaint(capsys)
    path.write_bytes(path.read_bytes()[:-9])
    assert train(data, tmp_path / "run") == 1
    assert "file-000.parquet is damaged, or cut short" in complaint(capsys)
    assert not (tmp_path / "run").exists()


def test_what_no_policy_is_trained_on_may_lack_numbers(tmp_path):
    """A reward that nobody gave; and what LeRobot 0.6 notes of a scene, which is no number."""
    pytest.importorskip("pyarrow")
    more = {"next.reward": {"dtype": "float32", "shape": [1]}, "observation.said": {"dtype": "language", "shape": [1]}}
    data = data_set(tmp_path / "cubes", codec=None, **more)
    said = [None, [{"role": "user", "content": None}]]
    rows(data, {"next.reward": [np.nan, None], "observation.said": said, "action": [[0.5] * 8] * 2})
    assert train(data, tmp_path / "run") == 0


def test_a_data_set_in_the_older_form_is_refused_with_lerobots_own_script(data, tmp_path, capsys):
    info = json.loads((data / "meta" / "info.json").read_text())
    (data / "meta" / "info.json").write_text(json.dumps({**info, "codebase_version": "v2.1"}))
    (data / "meta" / "offboard.json").write_text(json.dumps({"codec": "openpi.ee", "fps": 15}))
    assert train(data, tmp_path / "run") == 1
    said = complaint(capsys)
    assert "is in LeRobot's form v2.1, made with openpi.ee, and LeRobot trains on v3" in said
    assert "convert_dataset_v21_to_v30 --repo-id=NAME --root=" in said


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            ["--batchsize=4"],
            "lerobot_train.py: error: unrecognized arguments: --batchsize=4 Likely cause: LeRobot refuses",
        ),
        (["--resum"], "unrecognized arguments: --resum=true"),
        (["--resum"], "(offboard's own is --resume)"),
        (
            ["--policy=act", "--policy.type=diffusion"],
            "--policy act and --policy.type=diffusion: leave one of them away",
        ),
        (["--num-train-steps=4"], "--num-train-steps 4 and --steps=3: leave one of them away"),
        (["--config_path=x"], "--config_path is said by --resume here"),
        (["--input-path=elsewhere"], "the data set is said to be"),
        (["--lerobot-env=NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE, which is not set"),
        (["--exp-name=../x"], "exp_name is '../x', expected the name of a folder"),
        (["--lerobot-command=no-such-program"], "--lerobot-command says no-such-program, and there is no such program"),
        (
            ["--standin.log=lerobot.processor.pipeline.ProcessorMigrationError: Model 'x' requires migration"],
            "Next: migrate them with LeRobot's own script (python -m lerobot.processor.migrate_policy_normalization",
        ),
        (
            ["--standin.log=OSError: Could not load this library: torchcodec/libtorchcodec_core4.so"],
            "have them read by PyAV, which brings its own (--dataset.video_backend=pyav)",
        ),
        (
            ["--standin.log=ImportError: 'accelerate' is required. pip install 'lerobot[training]'"],
            "is not installed be",
        ),
        (["--standin.log=urlopen error <download.pytorch.org>"], "(--policy.pretrained_backbone_weights=null)"),
        (["--standin.log=wandb.errors.errors.UsageError: No API key configured"], "(--wandb.mode=offline)"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(data, tmp_path, capsys, more, reason):
    assert train(data, tmp_path / "run", *more) != 0
    said = complaint(capsys)
    assert reason in said
    assert "usage:" not in said
    assert "fault of offboard" not in said
    assert not (tmp_path / "run").exists()


#: What LeRobot 0.6 says as it is imported where there is no FFmpeg, its traces shortened.
WITHOUT_FFMPEG = """WARNING:lerobot.utils.import_utils:Could not load libtorchcodec. Likely causes:
[start of libtorchcodec loading traceback]
FFmpeg version 4:
OSError: Could not load this library: torchcodec/libtorchcodec_core4.so
[end of libtorchcodec loading traceback].
'torchcodec' is installed but cannot be loaded (see the error above). Falling back to 'pyav' as a default decoder.
"""


@pytest.mark.parametrize("cut", [0, 2])
def test_a_decoder_that_lerobot_does_without_is_no_cause(cut):
    """Each of its trainings that failed was put down to it. ``cut``: lines of it that the end of a log lacks."""
    before = "".join(WITHOUT_FFMPEG.splitlines(keepends=True)[cut:])

    def said(log):
        return training_log.explain("LeRobot subprocess exited with code 1", log, [], "d").text

    for end, cause in (
        ("error: `steps`: Couldn't parse 'many' into an int", "LeRobot refuses an option"),
        ("safetensors_rust.SafetensorError: I/O error: File too large (os error 27)", "the disk is full"),
        ("RuntimeError: Could not load libtorchcodec. Likely causes:", "LeRobot reads videos by TorchCodec"),
    ):
        text = said(f"{before}INFO it begins\n{end}\n")
        assert f"Likely cause: {cause}" in text
        assert "libtorchcodec_core4" not in text
    assert "Likely cause: LeRobot reads videos" in said(before.partition("'torchcodec'")[0])


def test_without_a_data_set_it_is_asked_for(tmp_path, capsys):
    words = ["train", "--vendor=lerobot", f"--output-dir={tmp_path / 'run'}", f"--lerobot-command={STANDIN}"]
    assert main(words) == 1
    assert "say which data set: --dataset FOLDER" in complaint(capsys)
    assert main([*words, "--dataset.repo_id=lerobot/pusht"]) == 1
    assert "hf download --repo-type dataset lerobot/pusht --local-dir FOLDER" in complaint(capsys)


def test_what_is_no_run_is_never_thrown_away(data, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    for more in ([], ["--overwrite"]):
        assert train(data, mine, *more) == 1
        assert "no run of LeRobot's, for none has thesis.tex" in complaint(capsys)
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(data)
        for inside in (data / "run", data, tmp_path, tmp_path / "link" / "run", mine / ".." / data.name / "run"):
            assert train(data, inside, *more) == 1
            assert "are one in the other" in complaint(capsys)
    assert (mine / "thesis.tex").read_text() == "x"
    (tmp_path / "empty").mkdir()
    assert train(data, tmp_path / "empty") == 0


def test_lerobot_that_is_not_here_is_said_with_how_to_get_it(data, tmp_path, capsys, monkeypatch):
    from offboard_lerobot import training_options

    def absent():
        raise LoadFailed("LeRobot is not installed here: pip install 'offboard-lerobot[lerobot]'")

    monkeypatch.setattr(training_options, "installed", absent)
    assert main(["train", "--vendor=lerobot", f"--dataset={data}", f"--output-dir={tmp_path / 'run'}"]) == 1
    said = complaint(capsys)
    assert "pip install 'offboard-lerobot[lerobot]'; or say with --lerobot-python where it is" in said


def test_statistics_are_lerobots_own_business(capsys):
    assert main(["stats", "--vendor=lerobot"]) == 1
    assert "computes no statistics beforehand: train at once" in complaint(capsys)


def test_of_a_chain_of_traces_the_first_cause_is_told():
    log = """Traceback (most recent call last):
  File "configuration_act.py", line 1
ValueError: `vision_backbone` must be one of the ResNet variants. Got vit.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "decoding.py", line 1
draccus.utils.DecodingError: `policy`: Could not decode the value into any of the given types:
    PreTrainedConfig: Couldn't instantiate class ACTConfig using the given arguments."""
    said = training_log.explain("LeRobot subprocess exited with code 1", log, [], "d").text
    assert "ResNet variants. Got vit." in said
    assert "Couldn't instantiate class ACTConfig" in said
    assert "File" not in said
