"""What `offboard convert` writes for openpi: the columns of its config, in the form that its LeRobot reads."""

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra convert")
pytest.importorskip("av", reason="needs the extra convert")
import pyarrow.parquet as pq
from golden_codecs import GOLDEN, observation
from offboard_client.cli import main
from offboard_core import Checkpoint, DataSetForm
from offboard_core.checkpoints import read_record
from offboard_core.plugins import CODEC, DATA_SET, Plugins
from openpi_standin import PYTHON, STANDIN

PLUGINS = Plugins.discover()


@pytest.mark.parametrize("name", ["ee", "ee_joints", "joints_traj"])
def test_the_numbers_are_upstreams_and_statistics_and_training_take_the_data_set(name, tmp_path, capsys):
    offer = PLUGINS.get(CODEC, name, "openpi")
    codec = offer.make(offer.options()(), Checkpoint(id="training"))
    form = DataSetForm(codec=f"openpi.{name}", features=codec.features, fps=15.0, target="sets/cubes")
    writer = PLUGINS.get(DATA_SET, "openpi").make(tmp_path / "cubes", form)
    pose = observation()["robot_state.ee_pose"]
    for step in range(3):
        frame = observation() | {"target_pose": pose + step, "target_grip": np.array([step / 10])}
        writer.add(codec.label(frame), "stack")
    writer.save_episode()
    assert "offboard stats --vendor openpi --input-path sets/cubes …" in writer.finish()

    golden = GOLDEN["codecs"][f"openpi.{name}"]["encode"]["observation/state"]["values"]
    table = pq.read_table(tmp_path / "cubes" / "data" / "chunk-000" / "episode_000000.parquet")
    np.testing.assert_allclose(table["observation.state"].to_pylist(), [golden] * 3, atol=1e-5)
    wanted = [[*(pose + step), step / 10] for step in range(3)]
    if name == "joints_traj":  # where the arm was, and what was measured of a grip of 0.25
        wanted = [[*observation()["robot_state.q"], 0.0]] * 3
    np.testing.assert_allclose(table["action"].to_pylist(), wanted, atol=1e-5)
    info = json.loads((tmp_path / "cubes" / "meta" / "info.json").read_text())
    assert {"observation.images.left", "observation.images.side"} < info["features"].keys()

    common = [
        "--vendor=openpi", f"--openpi-root={STANDIN}", f"--openpi-command={PYTHON}",
        f"--input-path={tmp_path / 'cubes'}",
    ]  # fmt: skip
    assert main(["stats", *common, f"--output-path={tmp_path / 'assets'}"]) == 0
    norm = tmp_path / "assets" / "assets" / "pi05_positronic_lowmem" / "lerobot" / "norm_stats.json"
    assert json.loads(norm.read_text())["norm_stats"]["state"]["q99"][0] == 3, "frames of it, as the stand-in counts"
    if name == "ee":
        train = [
            "train",
            *common,
            f"--stats-path={tmp_path / 'assets' / 'assets'}",
            f"--output-path={tmp_path / 'out'}",
        ]
        said = {"codec": "openpi.ee_traj", "fps": 15.0}  # as `offboard convert` leaves it
        (tmp_path / "cubes" / "meta" / "offboard.json").write_text(json.dumps(said))
        assert main([*train, "--exp-name=v1", "--num-train-steps=3", "--codec=ee"]) == 1
        assert "the data set was made with openpi.ee_traj" in capsys.readouterr().err.replace("\n ", "")
        assert main([*train, "--exp-name=v1", "--num-train-steps=3"]) == 0
        run = tmp_path / "out" / "pi05_positronic_lowmem" / "v1"
        assert read_record(run)["codec"] == "openpi.ee_traj"
    capsys.readouterr()
