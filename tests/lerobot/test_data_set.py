"""``offboard export --to lerobot``: what LeRobot's own data sets read back of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("mcap") is None or importlib.util.find_spec("datasets") is None:
    pytest.skip("recordings and LeRobot's data sets are what this is about", allow_module_level=True)

from filmed import begin, picture, sample, tick
from offboard_client import cli
from offboard_client.evaluation import edit_review
from offboard_client.play import Outcome
from offboard_client.recording import Recorder

#: LeRobot 0.4 reads video by torchvision, which says that it will not for ever.
pytestmark = pytest.mark.filterwarnings("ignore:The video decoding and encoding capabilities of torchvision")
POSE = np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0])
STATE = ("--state", "robot_state.ee_pose", "robot_state.q", "grip")


def recorded(folder: Path, periods: int = 20, led: tuple[int, ...] = (), names: Any = None, **more: Any) -> Path:
    """An episode of 20 Hz, at periods ``led`` with a person's commands."""
    recorder = Recorder(folder, {"command": "offboard run test"})
    begin(recorder, 1 + len([*folder.glob("*.mcap")]))
    for number in range(periods):
        sample(recorder, number, **more)
        action = {"target_pose": POSE + number * np.eye(7)[0], "target_grip": np.array([number / 10])}
        tick(recorder, number, action, rung="led" if number in led else "playing")
    recorder.ended(Outcome(True, scores={"share": float("nan"), "items": 2.0}))
    return recorder.recorded.files[0]


def export(folder: Path, out: Path, *more: str) -> int:
    return cli.main(["export", str(folder), "--to", "lerobot", "--output-dir", str(out), *STATE, *more])


def loaded(out: Path, **more: Any) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset(f"offboard/{out.name}", root=out, video_backend="pyav", **more)


def described(out: Path) -> dict[str, Any]:
    return json.loads((out / "meta" / "offboard.json").read_text())


@pytest.fixture(autouse=True)
def quietly(lerobot: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a data set is read through lies in no home; nothing is asked of the Hub."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def test_lerobot_reads_whole_attempts_with_who_led(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, 15, led=(7, 8, 9))
    assert export(rec, out) == 0
    said = capsys.readouterr()
    assert "2 attempts of 2 written" in said.out
    assert "35 frames, 3 of them led by a person" in said.out
    assert said.err == ""
    assert sorted(path.name for path in out.iterdir()) == ["data", "meta", "videos"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]
    data = loaded(out)
    assert (data.num_episodes, data.num_frames, data.fps) == (2, 35, 20)
    assert described(out)["episodes"][0]["scores"] == {"share": None, "items": 2.0}, "JSON has no form for NaN"
    assert data.meta.features["observation.state"]["names"][14] == "grip"
    assert data.meta.features["action"]["names"][1] == "target_pose.x"
    for index, number in ((0, 0), (7, 7), (19, 19), (20, 0), (28, 8), (34, 14)):
        frame = data[index]
        assert frame["observation.state"][2] == pytest.approx(0.3 + number / 1000)
        assert frame["action"][1] == pytest.approx(0.1 + number)
        assert bool(frame["intervention"]) == (index in (27, 28, 29))
        assert frame["task"] == "stack"
        assert frame["timestamp"] == pytest.approx(number / 20)
        assert int(frame["wall_time_ns"]) == 1_800_000_000_000_000_000 + 50_000_000 * number
        seen = frame["observation.images.wrist"].numpy().transpose(1, 2, 0) * 255
        assert np.abs(seen - picture(number)).mean() < 16  # it was video twice
    first, second = described(out)["episodes"]
    assert (first["frames"], first["outcome"], first["led"], second["led"]) == (20, "success", 0, 3)


def test_the_same_command_goes_on_and_other_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    first = recorded(rec)
    assert export(rec, out) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert export(rec, out) == 0
    assert "1 attempt was there already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    recorded(rec, 12)
    assert export(rec, out) == 0
    data = loaded(out)
    assert (data.num_episodes, data.num_frames) == (2, 32)
    assert data[25]["action"][1] == pytest.approx(5.1)
    assert [each["frames"] for each in described(out)["episodes"]] == [20, 12]
    capsys.readouterr()
    # Another rate, another robot, another's data set: nothing is written.
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert export(rec, out, "--fps", "10") == 1
    assert "has 20 frames a second, and --fps says 10" in capsys.readouterr().err.replace("\n ", "")
    other = tmp_path / "other"
    recorded(other), recorded(other), recorded(other, **{"image.side": picture(0, 32, 32)})
    edit_review(next(other.glob("*-0003.mcap")), {"outcome": "partial"}, {"outcome": None})
    assert export(other, out, "--score", "partial") == 1
    said = capsys.readouterr()
    assert "does not fit: its cameras are image.side (32 x 32), image.wrist (48 x 64)" in said.err.replace("\n ", "")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert export(rec, tmp_path / "mine") == 1
    assert "nothing is written over" in capsys.readouterr().err.replace("\n ", "")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other", "out", "rec"]
    assert first.exists()


def test_an_attempt_that_does_not_fit_leaves_nothing_in_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its frames are gone when it fails at its end, in the video, too."""
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorder = Recorder(rec, {})
    begin(recorder, 1)
    for number in range(30):
        sample(recorder, number, grip=np.array([np.nan if number == 29 else 0.0]))
        tick(recorder, number, {"target_pose": POSE, "target_grip": np.array([0.0])})
    recorder.ended(Outcome(True))
    recorded(rec, 12)
    (rec / "cut.mcap").write_bytes(b"\x89MCAP0\r\n")
    assert export(rec, out, "--json") == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (len(found["written"]), found["frames"], len(found["failures"])) == (1, 12, 2)
    assert "grip of" in said.err
    assert "is nan at 1.475 s" in said.err.replace("\n ", "")
    data = loaded(out)
    assert (data.num_episodes, data.num_frames) == (1, 12)
    assert data.meta.episodes[0]["videos/observation.images.wrist/to_timestamp"] == pytest.approx(12 / 20)
    for number in (0, 11):
        seen = data[number]["observation.images.wrist"].numpy().transpose(1, 2, 0) * 255
        assert np.abs(seen - picture(number)).mean() < 16
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_ctrl_c_keeps_whole_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import offboard_lerobot_exports.data_set as module

    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, 15)
    frames, calls = module.SteadyFrames, list[int]()

    class Interrupted(frames):  # type: ignore[misc, valid-type]
        def __iter__(self) -> Any:
            calls.append(1)
            for number, frame in enumerate(super().__iter__()):
                if len(calls) == 2 and number == 9:
                    raise KeyboardInterrupt
                yield frame

    monkeypatch.setattr(module, "SteadyFrames", Interrupted)
    assert export(rec, out) == 130
    said = capsys.readouterr()
    assert "1 attempt of 2 written" in said.out
    assert "the same command goes on" in said.err
    assert loaded(out).num_frames == 20
    assert export(rec, out) == 0
    assert loaded(out).num_frames == 35
    # Before the first is whole, nothing is there.
    calls[:] = [1]
    assert export(rec, tmp_path / "none") == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]


def test_good_attempts_and_their_ranges(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    good, bad = recorded(rec, 40), recorded(rec, 40)
    edit_review(bad, {"outcome": "fail"}, {"outcome": None})
    assert export(rec, out, "--score", "success") == 0
    (entry,) = described(out)["episodes"]
    assert entry["recording"] == good.name
    assert loaded(out).num_frames == 40
    from offboard_client.evaluation import Clip

    at = tuple(round((1_800_000_000.0 + second) * 1e9) for second in (0.5, 1.0))
    edit_review(good, {}, {}, clips=[Clip("a", (0.5, 1.0), at, "grasp")])  # type: ignore[arg-type]
    assert export(rec, tmp_path / "clips", "--clips") == 0
    (entry,) = described(tmp_path / "clips")["episodes"]
    assert (entry["name"], entry["frames"], entry["clip"]["label"]) == (f"{good.stem}#a", 10, "grasp")
    assert loaded(tmp_path / "clips")[0]["action"][1] == pytest.approx(10.1)


def test_a_tiny_act_takes_a_batch_of_it(tmp_path: Path) -> None:
    """LeRobot's own factory makes the policy of the data set, and its loss of a batch has a gradient."""
    import torch
    from lerobot.configs.types import FeatureType
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, led=(3, 4))
    assert export(rec, out) == 0
    config = ACTConfig(
        chunk_size=4, n_action_steps=4, dim_model=32, n_heads=2, dim_feedforward=64, n_encoder_layers=1,
        n_decoder_layers=1, latent_dim=4, pretrained_backbone_weights=None, device="cpu", push_to_hub=False,
    )  # fmt: skip
    data = loaded(out, delta_timestamps={"action": [step / 20 for step in range(4)]})
    policy = make_policy(cfg=config, ds_meta=data.meta)
    kinds = {name: feature.type for name, feature in policy.config.input_features.items()}
    assert kinds == {"observation.state": FeatureType.STATE, "observation.images.wrist": FeatureType.VISUAL}
    assert {*policy.config.output_features} == {"action"}
    before, _ = make_pre_post_processors(policy.config, dataset_stats=data.meta.stats)
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)))
    loss, _ = policy(before(batch))
    loss.backward()
    assert torch.isfinite(loss)
    assert batch["intervention"].dtype == torch.bool


def test_a_picture_that_lerobot_could_not_write_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """LeRobot says a line of each and goes on: the video would have fewer frames than there are rows."""
    from offboard_lerobot_exports.writing import Writing

    features = {
        "observation.images.left": {"dtype": "video", "shape": (16, 16, 3), "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
    }
    writing = Writing(tmp_path / "set", "set", 15, features)
    frame = {"observation.images.left": np.zeros((16, 16, 3), np.uint8), "action": np.zeros(2, np.float32), "task": "x"}
    writing.add(frame)
    (tmp_path / "set" / "images" / "observation.images.left" / "episode-000000" / "frame-000001.png").mkdir()
    with pytest.raises(OSError, match=r"frame-000001\.png"):
        writing.add(frame)
    assert capsys.readouterr().out == ""
    writing.discard()
