"""What `offboard convert` writes for GR00T: as its loaders read it, and as our own training checks it."""

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra convert")
pytest.importorskip("mcap", reason="needs the extra convert")
import av
import pyarrow.parquet as pq
from golden_codecs import GOLDEN, observation, picture
from gr00t_standin import PYTHON, STANDIN
from offboard_client.cli import main
from offboard_client.errors import ConfigurationError
from offboard_core import Checkpoint, DataSetForm
from offboard_core.checkpoints import read_record
from offboard_core.plugins import CODEC, DATA_SET, Plugins
from offboard_gr00t.data_set import check_data_set, modality_json
from rows_form import recorded

PLUGINS = Plugins.discover()


def made(name):
    offer = PLUGINS.get(CODEC, name, "gr00t")
    return offer.make(offer.options()(), Checkpoint(id="training"))


def write(folder, name, codec, *tasks):
    form = DataSetForm(codec=f"gr00t.{name}", features=codec.features, fps=15.0, target="sets/cubes")
    writer = PLUGINS.get(DATA_SET, "gr00t").make(folder, form)
    for task in tasks:
        for step in range(3):
            frame = observation() | {"image.wrist": picture(480, 640, step)}
            pose = frame["robot_state.ee_pose"]
            frame |= {"target_pose": pose + np.eye(7)[0] * step, "target_grip": np.array([step / 10])}
            writer.add(codec.label(frame), task)
        writer.save_episode()
    return writer.finish()


@pytest.mark.parametrize("name", ["ee_quat", "ee_rot6d", "joints_traj"])
def test_the_numbers_are_upstreams_and_training_takes_the_data_set(name, tmp_path):
    folder, codec, golden = tmp_path / "cubes", made(name), GOLDEN["codecs"][f"gr00t.{name}"]
    assert write(folder, name, codec, "stack", "stack") == "offboard train --vendor gr00t --input-path sets/cubes …"
    check_data_set(folder, name, 15.0)
    assert json.loads((folder / "meta" / "modality.json").read_text()) == modality_json(name)
    table = pq.read_table(folder / "data" / "chunk-000" / "episode_000001.parquet")
    for group, said in golden["encode"]["state"].items():
        assert said["shape"] == [1, 1, len(table[group][0])], "lists, of one number too"
        np.testing.assert_allclose(table[group].to_pylist(), [said["values"]] * 3, atol=1e-5)
    # What GR00T cuts out of an action by its modality.json.
    parts = json.loads((folder / "meta" / "modality.json").read_text())["action"]
    actions = np.array(table["action"].to_pylist())
    grips = actions[:, parts["grip"]["start"] : parts["grip"]["end"]]
    np.testing.assert_allclose(grips, [[0.0]] * 3 if name.endswith("_traj") else [[0.0], [0.1], [0.2]], atol=1e-6)
    for camera, seeds in (("wrist_image", (0, 1, 2)), ("exterior_image_1", (2, 2, 2))):
        with av.open(str(folder / "videos" / "chunk-000" / camera / "episode_000001.mp4")) as video:
            shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        for found, seed in zip(shown, seeds, strict=True):
            size = (480, 640) if camera == "wrist_image" else (720, 1280)
            label = codec.label({**observation(), **targets(), SOURCES[camera]: picture(*size, seed)})
            assert np.abs(found.mean((0, 1)) - label[camera].mean((0, 1))).max() < 2, "a decoder rounds down"


SOURCES = {"wrist_image": "image.wrist", "exterior_image_1": "image.exterior"}


def targets():
    return {"target_pose": np.array([0, 0, 0, 1.0, 0, 0, 0]), "target_grip": np.array([0.0])}


def test_more_episodes_end_what_training_has_computed_and_leave_what_one_has_written(tmp_path):
    codec = made("ee_quat")
    write(tmp_path, "ee_quat", codec, "stack")
    mine = modality_json("ee_quat") | {"mine": {}}
    for name, value in (("stats", {}), ("relative_stats", {}), ("relative_stats_16", {}), ("modality", mine)):
        (tmp_path / "meta" / f"{name}.json").write_text(json.dumps(value))
    write(tmp_path, "ee_quat", codec, "pour")
    assert sorted(path.name for path in (tmp_path / "meta").iterdir()) == [
        "episodes.jsonl", "episodes_stats.jsonl", "info.json", "modality.json", "tasks.jsonl",
    ]  # fmt: skip
    assert json.loads((tmp_path / "meta" / "modality.json").read_text()) == mine
    check_data_set(tmp_path, "ee_quat", 15.0)


def test_another_codecs_columns_are_ones_own_to_describe(tmp_path):
    codec = made("ee_quat")
    assert "say in sets/cubes/meta/modality.json what" in write(tmp_path, "of_mine", codec, "stack")
    with pytest.raises(ConfigurationError, match=r"has no meta/modality\.json"):
        check_data_set(tmp_path, None, 15.0)


def test_recordings_are_converted_and_trained_on(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    rec, out = tmp_path / "rec", tmp_path / "cubes"
    recorded(rec), recorded(rec, 14, success=False, task="pour")
    argv = ["convert", str(rec), "--codec=gr00t.ee_rot6d", f"--output-dir={out}"]
    assert main([*argv, "--outcome=success"]) == 0
    assert f"--input-path {out} …" in capsys.readouterr().out.replace("\n", " ")
    assert main(argv) == 0, "the other one is added"
    tasks = [json.loads(line)["task"] for line in (out / "meta" / "tasks.jsonl").read_text().splitlines()]
    assert tasks == ["stack", "pour"]
    poses = np.array(pq.read_table(out / "data" / "chunk-000" / "episode_000000.parquet")["action"].to_pylist())
    assert poses.shape[1] == 10
    np.testing.assert_allclose(poses[0, 3:9], [1, 0, 0, 0, 1, 0], atol=1e-6)  # two rows of no rotation
    assert json.loads((out / "meta" / "offboard.json").read_text())["codec"] == "gr00t.ee_rot6d"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    argv = [
        "train", "--vendor=gr00t", f"--gr00t-root={STANDIN}", f"--gr00t-command={PYTHON}", "--generation=n1.6",
        f"--input-path={out}", f"--output-path={tmp_path / 'out'}", "--exp-name=v1", "--num-train-steps=3",
    ]  # fmt: skip
    assert main([*argv, "--codec=ee_quat"]) == 1
    assert "the data set was made with gr00t.ee_rot6d" in capsys.readouterr().err.replace("\n ", "")
    assert main(argv) == 0, "it says itself what it was made with"
    assert read_record(tmp_path / "out" / "v1")["codec"] == "gr00t.ee_rot6d"
    assert [path.name for path in (tmp_path / "out" / "v1").glob("checkpoint-*")] == ["checkpoint-3"]
