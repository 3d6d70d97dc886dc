"""A value of the wrong kind in a checkpoint's config is told before the server listens, by its name."""

import json
import shutil
from dataclasses import fields, replace

import pytest
from lerobot_checkpoints import OUTPUTS, SETTINGS, inputs_of, write_files
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import Checkpoint
from offboard_lerobot import rules
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.values import wrong
from offboard_lerobot.versions import installed, releases

OLD, NEW = releases()
NAN, MORE = float("nan"), float("inf")
WRONG = [
    ("act", {"n_action_steps": "16"}, "n_action_steps ('16') in config.json, where a whole number is expected"),
    ("act", {"n_action_steps": True}, "n_action_steps (True) in config.json, where a whole number is expected"),
    ("act", {"n_action_steps": None}, "n_action_steps (None) in config.json, where null is not expected"),
    ("act", {"n_action_steps": 4.0}, "where a whole number is expected"),
    ("act", {"n_action_steps": NAN}, "where a whole number is expected"),
    ("act", {"n_action_steps": 0}, "n_action_steps (0) in config.json, where a number from 1 on is expected"),
    ("act", {"chunk_size": -1}, "chunk_size (-1) in config.json, where a number from 1 on is expected"),
    ("act", {"n_action_steps": 17}, "n_action_steps (17) in config.json, which is more than its chunks have: chunk_s"),
    ("act", {"dim_model": 0}, "dim_model (0)"),
    ("act", {"temporal_ensemble_coeff": NAN}, "temporal_ensemble_coeff (nan) in config.json, where finite numbers are"),
    ("act", {"temporal_ensemble_coeff": -MORE}, "where finite numbers are expected"),
    ("act", {"temporal_ensemble_coeff": "0.01"}, "temporal_ensemble_coeff ('0.01') in config.json, where a number is"),
    ("act", {"temporal_ensemble_coeff": True}, "where a number is expected"),
    ("act", {"use_amp": None}, "use_amp (None)"),
    ("act", {"use_vae": 1}, "use_vae (1) in config.json, where true or false is expected"),
    ("act", {"replace_final_stride_with_dilation": "no"}, "where a whole number is expected"),
    ("act", {"use_vae": "false"}, "where true or false is expected"),
    ("act", {"normalization_mapping": "x"}, "normalization_mapping ('x') in config.json, where a map is expected"),
    ("act", {"vision_backbone": 18}, "vision_backbone (18) in config.json, where a text is expected"),
    ("act", {"dropout": True}, "dropout (True) in config.json, where a number is expected"),
    ("diffusion", {"down_dims": 512}, "down_dims (512) in config.json, where a list is expected"),
    ("diffusion", {"clip_sample_range": MORE}, "where finite numbers are expected"),
    ("diffusion", {"horizon": -1}, "horizon (-1)"),
    ("vqbet", {"crop_shape": [NAN, 1]}, "where finite numbers are expected"),
    *[
        ("smolvla", {"rtc_config": {name: value}}, f"{name} ({value!r}) in rtc_config in config.json, where {text}")
        for name, value, text in (
            ("execution_horizon", -5, "a whole number from 1 to 16,384 is expected"),
            ("execution_horizon", 2.5, "a whole number from 1"),
            ("max_guidance_weight", 0, "a number above 0, of at most 1000, is expected"),
            ("max_guidance_weight", 1e30, "a number above 0"),
            ("max_guidance_weight", "10", "a number above 0"),
            ("enabled", "yes", "true or false is"),
            ("prefix_attention_schedule", "x", "ZEROS, ONES, LINEAR or EXP is"),
            ("debug_maxlen", 0, "a number from 1 on is"),
        )
    ],
    ("smolvla", {"rtc_config": {"max_guidance_weight": NAN}}, "where finite numbers are expected"),
    ("smolvla", {"rtc_config": "x"}, "rtc_config ('x') in config.json, where a map is expected"),
    ("of_nobody", {"temporal_ensemble_coeff": "x"}, "where a number is expected"),
    ("of_nobody", {"n_action_steps": 0}, "where a number from 1 on is expected"),
    ("of_nobody", {"anything": {"deep": [MORE]}}, "where finite numbers are expected"),
]
RIGHT = [
    ("act", {"dropout": 0, "temporal_ensemble_coeff": None, "optimizer_weight_decay": 0, "kl_weight": 10}),
    ("act", {"optimizer_lr": MORE}),
    ("act", {"temporal_ensemble_coeff": 1, "n_action_steps": 1}),
    ("act", {"replace_final_stride_with_dilation": 0}),
    ("act", {"replace_final_stride_with_dilation": False}),
    ("smolvla", {"optimizer_grad_clip_norm": 10.0}),
    ("vqbet", {"crop_shape": None, "pretrained_backbone_weights": None}),
    ("diffusion", {"num_inference_steps": None, "crop_shape": None, "drop_n_last_frames": 0}),
    ("smolvla", {"prefix_length": -1, "num_expert_layers": -1, "empty_cameras": 0, "rtc_config": {"enabled": False}}),
    ("smolvla", {"rtc_config": {"enabled": True, "max_guidance_weight": 5, "execution_horizon": 8, "newer": "x"}}),
    ("evo1", {"vlm_num_layers": None}),
    ("of_nobody", {"n_action_steps": 8, "any": None, "more": ["x", {"y": 1.5}]}),
]


def listed(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return checkpoint


def said(tmp_path, kind, config):
    files = read(LocalPlace(write_files(tmp_path / "m", kind=kind, **config)))
    return ["; ".join(wrong(files, release)) for release in releases()]


@pytest.mark.parametrize(("kind", "config", "text"), WRONG)
def test_a_value_that_cannot_be(kind, config, text, tmp_path):
    assert all(text in each for each in said(tmp_path, kind, config))


@pytest.mark.parametrize(("kind", "config"), RIGHT)
def test_a_value_that_can_be(kind, config, tmp_path):
    assert said(tmp_path, kind, config) == ["", ""]


def test_it_is_told_before_anything_listens(tmp_path):
    folder = write_files(tmp_path / "m", chunk_size=-1)
    with pytest.raises(LoadFailed, match=r"/m says chunk_size \(-1\) in config\.json, where a number from 1 on"):
        LeRobotLoader(LeRobotOptions()).check(Checkpoint(id="m", location=str(folder)))


def test_what_its_own_class_refuses_is_refused_for_good_with_the_reason(act, tmp_path, monkeypatch):
    folder = shutil.copytree(act, tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "n_obs_steps": 2}))
    monkeypatch.setattr(rules, "refused", lambda files: ())  # as of a rule that nobody here knows
    with pytest.raises(LoadFailed, match=r"/m: LeRobot does not take its config\.json: ValueError: .*observation") as e:
        LeRobotLoader(LeRobotOptions(device="cpu")).load(listed(folder), print)
    assert e.value.permanent


def test_what_its_network_refuses_is_refused_for_good(act, tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "refused", lambda files: ())
    folder = shutil.copytree(act, tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "n_heads": 5}))
    with pytest.raises(LoadFailed, match="AssertionError: embed_dim must be divisible by num_heads") as e:
        LeRobotLoader(LeRobotOptions(device="cpu")).load(listed(folder), print)
    assert e.value.permanent


def test_a_config_that_lerobot_read_and_saved_again_is_taken_as_the_first_time(tmp_path):
    """As fine-tuning and pushing to the hub do: some fields come out of another kind than they went in."""
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies import factory  # noqa: F401  it declares the types

    def features(given):
        return {name: PolicyFeature(FeatureType(kind), shape) for name, (kind, shape) in given.items()}

    here = installed()
    kinds = sorted(here.types.keys() & PreTrainedConfig.get_known_choices().keys())
    assert len(kinds) >= 8
    for kind in kinds:
        cls = PreTrainedConfig.get_choice_class(kind)
        known = {field.name for field in fields(cls)}  # of another release's groot some are others
        config = cls(
            input_features=features(inputs_of(kind)),
            output_features=features(OUTPUTS),
            device="cpu",
            **{name: value for name, value in SETTINGS.get(kind, {}).items() if name in known},
        )
        for number in ("first", "again"):
            folder = tmp_path / kind / number
            folder.mkdir(parents=True)
            config._save_pretrained(folder)
            files = read(LocalPlace(write_files(tmp_path / kind / f"{number} whole", kind=kind)))
            written = json.loads((folder / "config.json").read_text())
            assert [*wrong(replace(files, config=written), here)] == [], f"{kind}, {number}"
            config = PreTrainedConfig.from_pretrained(folder)
