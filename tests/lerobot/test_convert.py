"""``offboard convert --codec lerobot.…``: what LeRobot reads back, and what a policy of its is served of it."""

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
from golden_codecs import GOLDEN, observation
from offboard_client import cli
from offboard_client.play import Outcome
from offboard_client.recording import Recorder
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint
from rows_form import recorded

#: LeRobot 0.4 reads video by torchvision, which says that it will not for ever.
pytestmark = pytest.mark.filterwarnings("ignore:The video decoding and encoding capabilities of torchvision")
ARMS = ("ee", "joints", "ee_traj", "joints_traj")


@pytest.fixture(autouse=True)
def quietly(lerobot: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a data set is read through lies in no home; nothing is asked of the Hub."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def convert(source: Path, out: Path, *more: str, codec: str = "lerobot.ee") -> int:
    return cli.main(["convert", str(source), "--codec", codec, "--output-dir", str(out), *more])


def loaded(out: Path, **more: Any) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset(f"offboard/{out.name}", root=out, video_backend="pyav", **more)


def made(codec: str) -> Any:
    offer = Plugins.discover().get(CODEC, codec)
    return offer.make(offer.options()(fps=20.0), Checkpoint(id="training"))


def golden(folder: Path) -> None:
    """An episode at whose every time the observation is the golden numbers' own."""
    recorder = Recorder(folder, {"task": "pick up the cube"})
    begin(recorder)
    seen = observation()
    for number in range(6):
        sample(recorder, number, asked=True, **{**seen, "grip": np.array([seen["grip"]])})
        tick(recorder, number, {"target_pose": np.array([0.5, 0, 0.2, 0, 1, 0, 0]), "target_grip": np.array([0.6])})
    recorder.ended(Outcome(True))


@pytest.mark.parametrize("arm", ARMS)
def test_features_and_labels_are_upstreams(arm: str, tmp_path: Path) -> None:
    """As Positronic's own codecs made them of the same observation; the observed grip is never binarised."""
    rec, out = tmp_path / "rec", tmp_path / "out"
    golden(rec)
    assert convert(rec, out, "--fps", "20", codec=f"lerobot.{arm}") == 0
    data = loaded(out)
    # Of ee_traj there are no golden numbers; its features are those of ee.
    wanted = GOLDEN["codecs"][f"lerobot.{'ee' if arm == 'ee_traj' else arm}"]["training_meta"]["lerobot_features"]
    info = json.loads((out / "meta" / "info.json").read_text())["features"]
    for name, feature in wanted.items():
        assert (info[name]["shape"], info[name]["dtype"]) == (feature["shape"], feature["dtype"]), name
        assert info[name]["names"] == feature["names"], name
    own = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    assert info.keys() == wanted.keys() | own
    assert (data.num_episodes, data.num_frames, data.fps) == (1, 6, 20)
    frame, codec = data[3], made(f"lerobot.{arm}")
    served = codec.encode(observation())
    np.testing.assert_allclose(frame["observation.state"], served["observation.state"], atol=1e-5)
    assert frame["observation.state"][7] == np.float32(0.25)
    driven = {"ee_traj": "robot_state.ee_pose", "joints_traj": "robot_state.q"}
    target = [*observation()[driven[arm]], 0.0] if arm in driven else [0.5, 0, 0.2, 0, 1, 0, 0, 0.6]
    np.testing.assert_allclose(frame["action"], target, atol=1e-5)
    assert frame["task"] == "pick up the cube"
    for name in ("observation.images.left", "observation.images.side"):
        shown = frame[name].numpy().transpose(1, 2, 0) * 255
        assert np.abs(shown - served[name]).mean() < 16, name  # steep stripes, and it was video twice


def test_in_the_end_it_says_how_to_train_so_that_serving_knows_the_codec(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path / "rec")
    assert convert(tmp_path / "rec", tmp_path / "out", "--fps", "20") == 0
    assert f"offboard train --vendor lerobot --dataset {tmp_path / 'out'} …" in capsys.readouterr().out


def test_whole_episodes_each_frame_with_its_own_picture_and_command(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, 15)
    assert convert(rec, out, "--fps", "20") == 0
    recorded(rec, 12)
    assert convert(rec, out, "--fps", "20") == 0
    assert sorted(path.name for path in out.iterdir()) == ["data", "meta", "videos"]
    data = loaded(out)
    assert (data.num_episodes, data.num_frames) == (3, 47)
    codec = made("lerobot.ee")
    for index, number in ((0, 0), (19, 19), (20, 0), (34, 14), (35, 0), (46, 11)):
        frame = data[index]
        assert frame["action"][0] == pytest.approx(0.1 + number)
        assert frame["observation.state"][2] == pytest.approx(0.3 + number / 1000)
        assert frame["timestamp"] == pytest.approx(number / 20)
        pictures = {"image.wrist": picture(number), "image.exterior": picture(number, 32, 48)}
        served = codec.encode({**observation(), **pictures})
        for name in ("observation.images.left", "observation.images.side"):
            shown = frame[name].numpy().transpose(1, 2, 0) * 255
            assert np.abs(shown - served[name]).mean() < 12, (index, name)


def test_an_episode_that_does_not_fit_leaves_nothing_in_the_next_ones_video(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorder = Recorder(rec, {})
    begin(recorder, 1)
    for number in range(30):
        grip = np.array([np.nan if number == 29 else 0.0])
        sample(recorder, number, **{"grip": grip, "image.exterior": picture(number, 32, 48)})
        tick(recorder, number, {"target_pose": np.eye(7)[3], "target_grip": np.array([0.0])})
    recorder.ended(Outcome(True))
    recorded(rec, 12)
    assert convert(rec, out, "--fps", "20") == 1
    data = loaded(out)
    assert (data.num_episodes, data.num_frames) == (1, 12)
    assert data.meta.episodes[0]["videos/observation.images.left/to_timestamp"] == pytest.approx(12 / 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]


def test_a_rate_that_lerobot_cannot_write_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec, 5)
    assert convert(rec, out, "--fps", "12.5") == 1
    assert "a whole number of frames a second, and lerobot.ee makes 12.5" in capsys.readouterr().err.replace("\n ", "")
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


def test_a_tiny_act_takes_a_batch_of_it(tmp_path: Path) -> None:
    """LeRobot's own factory makes the policy of the data set, with the inputs that the codec serves it."""
    import torch
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.factory import make_policy, make_pre_post_processors

    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec)
    assert convert(rec, out, "--fps", "20") == 0
    config = ACTConfig(
        chunk_size=4, n_action_steps=4, dim_model=32, n_heads=2, dim_feedforward=64, n_encoder_layers=1,
        n_decoder_layers=1, latent_dim=4, pretrained_backbone_weights=None, device="cpu", push_to_hub=False,
    )  # fmt: skip
    data = loaded(out, delta_timestamps={"action": [step / 20 for step in range(4)]})
    policy = make_policy(cfg=config, ds_meta=data.meta)
    served = made("lerobot.ee").encode(observation())
    assert policy.config.input_features.keys() == served.keys() - {"task"}
    before, _ = make_pre_post_processors(policy.config, dataset_stats=data.meta.stats)
    batch = next(iter(torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)))
    loss, _ = policy(before(batch))
    loss.backward()
    assert torch.isfinite(loss)
