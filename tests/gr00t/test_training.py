"""Training by GR00T's own command lines, of data sets in its own form; what is recorded decides how it is served."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from golden_codecs import GOLDEN
from gr00t_standin import DATA_CONFIG, PYTHON, STANDIN, robot
from gr00t_standin import options as standin_options
from offboard_client.cli import main
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.catalog import from_flags
from offboard_core.checkpoints import LocalPlace, read_record
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE, NO_CONTEXT, Checkpoint
from offboard_gr00t import arm
from offboard_gr00t.checkout import generation_of, resumes_by_flag
from offboard_gr00t.checkpoint import read
from offboard_gr00t.data_set import check_data_set, modality_json
from offboard_gr00t.diagnosis import explain_training
from offboard_gr00t.generation import Generation
from offboard_gr00t.modality_config import FILE, modality_config
from offboard_gr00t.variants import check_config

PLUGINS = Plugins.discover()


def data_set(folder, codec="ee_rot6d", **more):
    """As much of a LeRobot data set as GR00T's loader reads before the numbers."""
    (folder / "meta").mkdir(parents=True)
    features = getattr(arm, codec)(arm.ArmOptions(), Checkpoint(id="it")).features
    columns = {name: {"dtype": each.dtype, "shape": list(each.shape)} for name, each in features.items()}
    info = {"codebase_version": "v2.1", "fps": 15, "features": columns, **more}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    for name in ("episodes.jsonl", "tasks.jsonl"):
        (folder / "meta" / name).write_text("{}\n")
    return folder


@pytest.fixture
def data(tmp_path):
    return data_set(tmp_path / "cubes")


@pytest.fixture(autouse=True)
def reported_nowhere(monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def train(data, out, *more, codec="ee_rot6d", generation="n1.6", steps=3):
    return main(
        [
            "train", "--vendor=gr00t", f"--gr00t-root={STANDIN}", f"--gr00t-command={PYTHON}",
            f"--generation={generation}", f"--input_path={data}", f"--output_path={out}", "--exp_name=v1",
            f"--num_train_steps={steps}", *([] if codec is None else [f"--codec={codec}"]), *more,
        ]
    )  # fmt: skip


def steps(run):
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in run.glob("checkpoint-*"))


def seen(run):
    return json.loads((run / "seen.json").read_text())


def after(words, flag):
    return words[words.index(flag) + 1]


# -- the data set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["ee_quat", "ee_rot6d", "joints_traj"])
def test_the_columns_are_taken_apart_as_upstream_does(codec):
    made = modality_json(codec)
    assert made.pop("annotation") == {"language.language_instruction": {"original_key": "task_index"}}
    assert made == GOLDEN["codecs"][f"gr00t.{codec}"]["training_meta"]["gr00t_modality"]


def test_the_page_names_the_columns_as_the_codecs_make_them():
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "training-data.md").read_text("utf-8")
    said = {}
    for line in page.partition("## For GR00T")[2].partition("## For Positronic")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and cells[0].startswith("`"):
            said |= {
                name.strip("` "): dict(re.findall(r"`(\w+)` \(([\d, ]+)\)", cells[1])) for name in cells[0].split(",")
            }
    made = {}
    for name in arm.LAYOUTS:
        features = getattr(arm, name)(arm.ArmOptions(), Checkpoint(id="it")).features
        made[name] = {column: ", ".join(map(str, each.shape)) for column, each in features.items()}
    assert said == made


def test_a_data_set_without_modality_json_gets_it_and_one_of_upstreams_is_left_alone(data):
    check_data_set(data, "ee_rot6d", 15.0)
    path = data / "meta" / "modality.json"
    assert json.loads(path.read_text()) == modality_json("ee_rot6d")
    theirs = modality_json("ee_rot6d")
    theirs["state"]["more"] = {"start": 0, "end": 1, "original_key": "grip"}
    path.write_text(json.dumps(theirs))
    check_data_set(data, "ee_rot6d", 15.0)
    assert json.loads(path.read_text()) == theirs


@pytest.mark.parametrize(
    ("codec", "changes", "reason"),
    [
        ("ee_rot6d_joints", {}, r"not made with the codec gr00t\.ee_rot6d_joints: it has no column joint_position"),
        ("ee_quat", {}, r"its column ee_pose is \[9\], and \[7\] in the codec"),
        ("ee_rot6d", {"codebase_version": "v3.0"}, "in LeRobot's form v3.0, and GR00T reads v2: convert it with"),
        ("ee_rot6d", {"fps": 30}, "has 30 steps per second, and 15 would be recorded: say --fps 30"),
        ("ee_rot6d", {"features": []}, "it has no column grip"),
        (None, {}, "has no meta/modality.json"),
    ],
)
def test_a_data_set_that_is_no_such_is_refused(tmp_path, codec, changes, reason):
    folder = data_set(tmp_path / "other", **changes)
    with pytest.raises(ConfigurationError, match=reason):
        check_data_set(folder, codec, 15.0)


@pytest.mark.parametrize(
    ("name", "said", "reason"),
    [
        ("episodes_stats.jsonl", '{"episode_index": 0, "stats": {"action": {"mean": [0.5]}}}\n'
         '{"episode_index": 1, "stats": {"action": {"mean": [NaN]}}}', "episodes_stats.jsonl says of episode 1"),
        ("stats.json", '{"action": {"mean": [Infinity]}}', "has numbers in action that are NaN or infinite"),
        ("stats.json", '{"action": {"mean": "x"}}', "stats.json cannot be read"),
        ("episodes_stats.jsonl", "[]", "holds list, expected maps"),
    ],
)  # fmt: skip
def test_nan_is_not_trained_on(data, tmp_path, capsys, name, said, reason):
    (data / "meta" / name).write_text(said)
    assert train(data, tmp_path / "out") == 1
    assert reason in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "v1").exists()


@pytest.mark.parametrize("number", [np.nan, np.inf, None])
@pytest.mark.parametrize("stats", [None, '{"episode_index": 0, "stats": {"action": {"mean": [0.5]}}}'])
def test_nan_that_no_statistics_tell_of_is_found_in_the_rows(data, tmp_path, capsys, number, stats):
    """Of a set without statistics, and of one whose maker left NaN out of the means."""
    parquet, rows = pytest.importorskip("pyarrow.parquet"), [[0.5] * 10 for _ in range(4)]
    table = pytest.importorskip("pyarrow").table
    (data / "data" / "chunk-000").mkdir(parents=True)
    path = data / "data" / "chunk-000" / "episode_000000.parquet"
    parquet.write_table(table({"action": rows, "note": ["x"] * 4}), path)
    if stats is not None:
        (data / "meta" / "episodes_stats.jsonl").write_text(stats)
    check_data_set(data, "ee_rot6d", 15.0)
    rows[2][3] = number
    parquet.write_table(table({"action": rows, "note": ["x"] * 4}), path)
    assert train(data, tmp_path / "out") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "numbers in action that are NaN, infinite or missing, in the rows of data/chunk-000/episode_000000" in said
    path.write_bytes(path.read_bytes()[:-9])
    assert train(data, tmp_path / "out") == 1
    assert "episode_000000.parquet is damaged, or cut short" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "v1").exists()


def test_pictures_and_sets_without_statistics_are_no_reason(data, tmp_path):
    (data / "meta" / "stats.json").write_text('{"somewhere.else": {"mean": [NaN]}}')
    assert train(data, tmp_path / "out") == 0


def test_what_is_half_there_is_named(data, tmp_path):
    with pytest.raises(ConfigurationError, match="is no LeRobot data set"):
        check_data_set(tmp_path, "ee_rot6d", 15.0)
    wrong = modality_json("ee_rot6d")
    wrong["action"]["grip"] = {"start": 0, "end": 1}
    (data / "meta" / "modality.json").write_text(json.dumps(wrong))
    with pytest.raises(ConfigurationError, match=r"of the action grip it says \{'start': 0, 'end': 1\}, expected"):
        check_data_set(data, "ee_rot6d", 15.0)
    for text in ("[", "[]"):
        (data / "meta" / "modality.json").write_text(text)
        with pytest.raises(ConfigurationError, match=r"modality\.json (cannot be read|holds no map)"):
            check_data_set(data, "ee_rot6d", 15.0)
    (data / "meta" / "tasks.jsonl").unlink()
    with pytest.raises(ConfigurationError, match=r"has no meta/tasks\.jsonl"):
        check_data_set(data, "ee_rot6d", 15.0)


# -- the modality config -----------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", arm.LAYOUTS)
@pytest.mark.parametrize("relative", [False, True])
def test_the_modality_config_registers_what_the_codec_makes(codec, relative, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STANDIN)
    for name in [name for name in sys.modules if name.partition(".")[0] == "gr00t"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / FILE).write_text(modality_config(codec, relative=relative))
    runpy.run_path(str(tmp_path / FILE))
    from gr00t.configs.data.embodiment_configs import MODALITY_CONFIGS

    config, layout = MODALITY_CONFIGS.pop("new_embodiment"), arm.LAYOUTS[codec]
    for name in [name for name in sys.modules if name.partition(".")[0] == "gr00t"]:
        monkeypatch.delitem(sys.modules, name)
    assert {f"state.{key}" for key in config["state"].modality_keys} == layout.state.keys()
    assert [f"action.{key}" for key in config["action"].modality_keys] == [*layout.action]
    assert config["action"].delta_indices == [*range(16)]
    assert config["video"].modality_keys == ["exterior_image_1", "wrist_image"]
    assert config["language"].modality_keys == ["annotation.language.language_instruction"]
    pose, grip = (each.said() for each in config["action"].action_configs)
    assert pose["rep"] == ("RELATIVE" if relative else "ABSOLUTE")
    assert pose["format"] == ("XYZ_ROT6D" if "rot6d" in codec and not relative else "DEFAULT")
    assert pose["state_key"] == config["action"].modality_keys[0]
    assert (pose["type"], grip["rep"], grip["type"]) == ("NON_EEF", "ABSOLUTE", "NON_EEF")


# -- training ----------------------------------------------------------------------------------------------


def test_training_leaves_what_serving_reads(data, tmp_path, capsys):
    out = tmp_path / "checkpoints"
    assert train(data, out) == 0
    run = out / "v1"
    assert f"checkpoints: {run}" in capsys.readouterr().out
    assert steps(run) == [3]
    assert read_record(run) == {
        "codec": "gr00t.ee_rot6d",
        "action_fps": 15.0,
        "embodiment_tag": "new_embodiment",
        "modality_config": "ee_rot6d",
    }
    found = read(LocalPlace(run / "checkpoint-3"), None)
    assert (found.generation, found.tag, found.modalities.horizon) == (Generation.N1_6, "new_embodiment", 16)
    check_config("ee_rot6d", found.modalities, "3")
    words = seen(run)["words"]
    assert after(words, "--base-model-path") == "nvidia/GR00T-N1.6-3B"
    assert after(words, "--embodiment-tag") == "NEW_EMBODIMENT"
    assert after(words, "--save-total-limit") == "9999"
    assert after(words, "--save-steps") == "2000"
    assert "--use-wandb" not in words


def test_what_was_trained_is_served_as_it_was_trained(data, tmp_path):
    assert train(data, tmp_path, "--modality-config=ee_rot6d_rel") == 0
    flags = {"checkpoints_dir": str(tmp_path / "v1"), "vendor": "gr00t"}
    source = from_flags(PLUGINS, **flags, loader_options=standin_options())
    checkpoint = source.default()
    resolved = source.codec.resolve(checkpoint, {})
    assert (resolved.name, resolved.source) == ("gr00t.ee_rot6d", "checkpoint")
    assert checkpoint.extras["modality_config"] == "ee_rot6d_rel"
    assert checkpoint.extras["representations"]["ee_pose"] == "RELATIVE"
    policy = source.loader.load(checkpoint, lambda _: None, ALONE)
    try:
        session = policy.new_session(policy.params())
        chunk = session.infer(resolved.encode(robot()), NO_CONTEXT)
        played = resolved.decode(chunk, robot()).columns()["target_pose"]
        # The stand-in answers the state itself, as a server does whose model answered that nothing moves.
        np.testing.assert_allclose(played[0, 0], robot()["robot_state.ee_pose"][0], atol=1e-6)
    finally:
        policy.close()
    from_flags(PLUGINS, **flags, variant="ee_rot6d_rel", loader_options=standin_options()).default()
    for variant, reason in (
        ("ee_rot6d", "--modality-config asks for ee_rot6d, but .* with ee_rot6d_rel.*, or the word ee_rot6d, away"),
        ("ee", "--modality-config asks for ee, but the checkpoint"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            from_flags(PLUGINS, **flags, variant=variant, loader_options=standin_options()).default()
    (tmp_path / "v1" / "offboard.json").unlink()
    for variant in ("ee_rot6d", "ee_rot6d_joints_rel"):  # the files of the checkpoint say it, too
        with pytest.raises(LoadFailed, match=r"--modality-config ee_rot6d_rel \(the variant ee_rot6d_rel\)"):
            from_flags(PLUGINS, **flags, variant=variant, loader_options=standin_options()).default()


@pytest.mark.parametrize(
    ("codec", "asked", "kept"),
    [
        ("ee_rot6d", "ee_rot6d_rel", "ee_rot6d_rel"),
        ("ee_rot6d_joints_traj", "ee_rot6d_q_rel", "ee_rot6d_q_rel"),
        ("ee_quat_joints_traj", None, "ee_q"),
    ],
)
def test_how_the_pose_is_learnt_is_kept_with_the_checkpoints(tmp_path, codec, asked, kept):
    data = data_set(tmp_path / "cubes", codec)
    assert train(data, tmp_path, *([] if asked is None else [f"--modality_config={asked}"]), codec=codec) == 0
    assert read_record(tmp_path / "v1")["modality_config"] == kept
    check_config(kept, read(LocalPlace(tmp_path / "v1" / "checkpoint-3"), None).modalities, "3")


@pytest.mark.parametrize("said", [["ee_rot6d_joints_rel"], ["--modality_config=ee_rot6d_q_rel"]])
def test_a_word_or_the_modality_config_alone_says_the_codec(tmp_path, said):
    data = data_set(tmp_path / "cubes", "ee_rot6d_joints")
    assert train(data, tmp_path, *said, codec=None) == 0
    record = read_record(tmp_path / "v1")
    assert (record["codec"], record["modality_config"]) == ("gr00t.ee_rot6d_joints", "ee_rot6d_q_rel")


def test_the_seeds_parameters_reach_gr00t(data, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k")
    more = [
        "--learning_rate=0.0002",
        "--save_steps=2",
        "--global-batch-size=8",
        "--num_workers=0",
        "--base-model-path=/w",
    ]
    assert train(data, tmp_path, *more, "--extra-args=--num-gpus 2", steps=5) == 0
    assert steps(tmp_path / "v1") == [2, 4, 5]
    words = seen(tmp_path / "v1")["words"]
    for flag, value in {
        "--max-steps": "5", "--learning-rate": "0.0002", "--save-steps": "2", "--global-batch-size": "8",
        "--dataloader-num-workers": "0", "--base-model-path": "/w", "--dataset-path": str(data),
        "--modality-config-path": str(tmp_path / "v1" / FILE),
    }.items():  # fmt: skip
        assert after(words, flag) == value
    assert words[-2:] == ["--num-gpus", "2"]
    assert "--use-wandb" in words
    assert seen(tmp_path / "v1")["wandb"]


def test_only_the_newest_checkpoints_keep_their_optimiser(data, tmp_path):
    assert train(data, tmp_path, "--save_steps=1", "--keep-optimizers=2", steps=4) == 0
    kept = [step for step in (1, 2, 3, 4) if (tmp_path / "v1" / f"checkpoint-{step}" / "optimizer.pt").exists()]
    assert kept == [3, 4]
    assert all((tmp_path / "v1" / f"checkpoint-{step}" / "config.json").exists() for step in (1, 2, 3, 4))


def test_a_run_goes_on_or_begins_anew_only_if_that_is_said(data, tmp_path, capsys):
    assert train(data, tmp_path) == 0
    assert train(data, tmp_path, steps=5) == 1
    assert "holds the checkpoints checkpoint-3; go on with --resume" in capsys.readouterr().err
    assert train(data, tmp_path, "--resume", steps=5) == 0
    assert steps(tmp_path / "v1") == [3, 5]
    assert train(data, tmp_path, "--resume", "--modality-config=ee_rot6d_rel", steps=6) == 1
    told = capsys.readouterr().err
    assert "trained with modality_config 'ee_rot6d'" in told
    assert "go on with 'ee_rot6d_rel'" in told
    assert train(data, tmp_path, "--overwrite", "--modality-config=ee_rot6d_rel", steps=2) == 0
    assert steps(tmp_path / "v1") == [2]
    assert train(data, tmp_path / "out", "--resume") == 1
    assert "no checkpoint in" in capsys.readouterr().err


@pytest.mark.parametrize(("generation", "told"), [("n1.6", False), ("n1.7", True)])
def test_going_on_is_told_to_whom_it_has_to_be_told(data, tmp_path, generation, told):
    assert train(data, tmp_path, generation=generation) == 0
    assert "--resume-from-checkpoint" not in seen(tmp_path / "v1")["words"]
    assert after(seen(tmp_path / "v1")["words"], "--base-model-path") == f"nvidia/GR00T-{generation.upper()}-3B"
    assert train(data, tmp_path, "--resume", generation=generation, steps=5) == 0
    assert ("--resume-from-checkpoint" in seen(tmp_path / "v1")["words"]) == told


def test_a_run_that_came_to_no_checkpoint_may_be_begun_otherwise(data, tmp_path):
    assert train(data, tmp_path, "--extra-args=--no-such-flag") == 1
    assert read_record(tmp_path / "v1")["modality_config"] == "ee_rot6d"
    assert train(data, tmp_path, "--modality-config=ee_rot6d_rel") == 0
    assert read_record(tmp_path / "v1")["modality_config"] == "ee_rot6d_rel"


def test_n1_5_reads_a_data_config(data, tmp_path, capsys):
    assert train(data, tmp_path, generation="n1.5") == 1
    assert "say --data-config NAME or MODULE:CLASS" in capsys.readouterr().err
    config = f"--data-config={DATA_CONFIG}"
    assert train(data, tmp_path, config, "--global-batch-size=4", generation="n1.5") == 0
    run = tmp_path / "v1"
    assert {**read_record(run), "codec": ""} == {
        "codec": "", "action_fps": 15.0, "embodiment_tag": "new_embodiment", "data_config": DATA_CONFIG,
    }  # fmt: skip
    words = seen(run)["words"]
    assert [after(words, flag) for flag in ("--batch-size", "--report-to", "--embodiment-tag")] == [
        "4", "tensorboard", "new_embodiment",
    ]  # fmt: skip
    assert read(LocalPlace(run / "checkpoint-3"), None).generation is Generation.N1_5
    assert train(data, tmp_path, config, "--resume", generation="n1.5", steps=4) == 0
    assert steps(run) == [3, 4]
    assert "--resume" in seen(run)["words"]
    assert train(data, tmp_path / "o", "ee_rot6d_rel", config, generation="n1.5", codec=None) == 1
    assert "and --codec ee_rot6d in place of --modality-config ee_rot6d_rel, or of the word for it" in (
        capsys.readouterr().err
    )
    assert train(data, tmp_path / "o", config, generation="n1.6") == 1
    assert "--data-config is N1.5's" in capsys.readouterr().err
    assert train(data, tmp_path / "o", "--data-config=nobodys", generation="n1.5") == 1
    assert "this GR00T has no such data config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (["--codec=droid"], "the codec gr00t.droid is for serving only"),
        (["--codec=ee_rot6"], "did you mean"),
        (["--modality-config=ee_rot6d_re"], "did you mean ee_rot6d_rel"),
        (["--modality-config=ee_rot6d_q"], "belongs to the codec ee_rot6d_joints, and the data set was made with ee_"),
        (["--modality-config=nowhere.py", "--gr00t-command="], "is not there"),
        (["--codec=lerobot.ee"], "say with --modality-config FILE.py"),
        (["ee_rot6d_rel"], "ee_rot6d_rel says --codec already"),
        (["--input_path=/nowhere"], "is no LeRobot data set"),
        (["--gr00t-command=no-such-program"], "--gr00t-python or --gr00t-command"),
        (["--fps=10"], "has 15 steps per second, and 10 would be recorded"),
        (["--extra-args=--max-stebs 3"], "GR00T subprocess exited with code 2"),
        (["--extra-args=--max-stebs 3"], "correct --extra-args, or --generation"),
    ],
)
def test_what_is_wrong_is_said(data, tmp_path, capsys, change, reason):
    if "--gr00t-command=" in change:
        change = [*change[:1], f"--gr00t-python={sys.executable}"]
        argv = [
            "train", "--vendor=gr00t", f"--gr00t-root={STANDIN}", "--generation=n1.6", f"--input_path={data}",
            f"--output_path={tmp_path}", "--exp_name=v1", "--codec=ee_rot6d", *change,
        ]  # fmt: skip
        assert main(argv) == 1
    else:
        assert train(data, tmp_path / "out", *change) != 0
    assert reason in " ".join(capsys.readouterr().err.split())


def test_a_config_of_ones_own_is_handed_on_and_nothing_said_of_it(data, tmp_path, capsys):
    mine = tmp_path / "mine.py"
    mine.write_text(modality_config("ee_rot6d_joints", relative=False))
    check_data_set(data, "ee_rot6d", 15.0)
    assert train(data, tmp_path / "out", f"--modality-config={mine}") == 1  # which reads more than there is
    told = " ".join(capsys.readouterr().err.split())
    assert "KeyError: 'state.joint_position'" in told
    assert "does not hold what the modality config reads" in told
    mine.write_text(modality_config("ee_rot6d", relative=False))
    assert train(data, tmp_path / "out", f"--modality-config={mine}") == 0
    assert "modality_config" not in read_record(tmp_path / "out" / "v1")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--exp-name=../x", "exp_name is '../x'"),
        ("--num-train-steps=0", "num_train_steps is 0, expected 1 or more"),
        ("--keep-optimizers=0", "keep_optimizers is 0, expected 1 or more: none would go on"),
    ],
)
def test_an_option_that_makes_no_sense_is_no_fault_of_offboards(data, tmp_path, capsys, option, reason):
    assert train(data, tmp_path, option) == 2
    told = capsys.readouterr().err
    assert f"offboard train --vendor gr00t refuses its options: {reason}" in told
    assert "fault of offboard" not in told


def test_an_interpreter_that_is_not_there_is_said_before_anything_runs(data, tmp_path, capsys):
    argv = [
        "train", "--vendor=gr00t", f"--gr00t-root={STANDIN}", "--gr00t-python=x/python", f"--input_path={data}",
        f"--output_path={tmp_path / 'out'}", "--exp_name=v1", "--codec=ee_rot6d", "--generation=n1.6",
    ]  # fmt: skip
    assert main(argv) == 1
    assert "--gr00t-python says x/python, and there is no program /" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_statistics_are_gr00ts_own_business(capsys):
    assert main(["stats", "--vendor=gr00t", "--input-path=x", "--output-path=y"]) == 1
    assert "computes no statistics beforehand: train at once" in capsys.readouterr().err


# -- the checkout ------------------------------------------------------------------------------------------


def test_the_checkout_says_which_generation_it_is(tmp_path):
    with pytest.raises(ConfigurationError, match=r"GR00T is not at .*say --generation"):
        generation_of(tmp_path / "none", None)
    with pytest.raises(ConfigurationError, match="looks like no generation that is known"):
        generation_of(tmp_path, None)
    (tmp_path / "gr00t" / "model" / "gr00t_n1d7").mkdir(parents=True)
    assert generation_of(tmp_path, None) is Generation.N1_7
    (tmp_path / "gr00t" / "model" / "gr00t_n1d6").mkdir()
    with pytest.raises(ConfigurationError, match=r"looks like n1\.6 and n1\.7"):
        generation_of(tmp_path, None)
    assert generation_of(tmp_path, "n1.5") is Generation.N1_5


def test_a_training_that_goes_on_only_if_it_is_told_to_is_told(tmp_path):
    assert [resumes_by_flag(tmp_path, each) for each in (Generation.N1_6, Generation.N1_7)] == [False, True]
    config = tmp_path / "gr00t" / "configs" / "finetune_config.py"
    config.parent.mkdir(parents=True)
    config.write_text("max_steps: int = 10000\n")
    assert not resumes_by_flag(tmp_path, Generation.N1_7)
    config.write_text("resume_from_checkpoint: bool = False\n")
    assert resumes_by_flag(tmp_path, Generation.N1_6)


@pytest.mark.parametrize(
    ("log", "step"),
    [
        ("ModuleNotFoundError: No module named 'flash_attn'", "install it there"),
        ("torch.OutOfMemoryError: CUDA out of memory", "--global-batch-size 16"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error.", "--num-workers 0"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error", "--gr00t-env HF_TOKEN"),
        ("AssertionError: Embodiment tag EmbodimentTag.NEW_EMBODIMENT already registered", "take it out there"),
        ("RuntimeError: Could not load libtorchcodec", "install what the log names there"),
        ("Unrecognized options: --foo", "`gr00t/x.py --help` in /gr00t"),
        ("FileNotFoundError: /d/meta/episodes.jsonl", "see that /d is wholly copied"),
        ("something that nobody has seen before", "runs by hand in /gr00t with the data set in /d"),
    ],
)
def test_training_is_explained_by_how_to_train(log, step):
    told = explain_training(log, generation="n1.6", data="/d", root="/gr00t", script="gr00t/x.py").text
    assert step in told
    assert not {"run_gr00t_server.py", "--startup-timeout", "--gr00t-args", "--gr00t-port"} & set(told.split())
    assert "{" not in told
