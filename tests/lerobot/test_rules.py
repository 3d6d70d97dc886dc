"""Values of a config that its policy's class or network refuses together are told before the server listens."""

import pytest
from lerobot_checkpoints import write_files
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import Checkpoint
from offboard_lerobot import rules
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions

STATE = {"observation.state": {"type": "STATE", "shape": [8]}}


def cameras(*shapes):
    return {**STATE, **{f"observation.images.{i}": {"type": "VISUAL", "shape": [*at]} for i, at in enumerate(shapes)}}


ONE = {"input_features": cameras((3, 96, 96))}
LOOKS = {"observation.images.left": {"type": "VISUAL", "shape": [3, 96, 96]}}
NONE = "0 cameras among the input_features of config.json, where 1 or more can be"
FILLED = {**STATE, "observation.images.empty_camera_0": {"type": "VISUAL", "shape": [3, 96, 96]}}
WRONG = [
    ("act", {"n_obs_steps": 2}, "n_obs_steps (2) in config.json: a policy of the type act looks at 1 observation"),
    ("smolvla", {"n_obs_steps": 2}, "n_obs_steps (2)"),
    ("tdmpc", {**ONE, "n_obs_steps": 2, "n_action_steps": 1}, "n_obs_steps (2)"),
    (
        "act",
        {"temporal_ensemble_coeff": 0.01},
        "n_action_steps (8) in config.json, which is 1 with",
    ),
    ("act", {"vision_backbone": "os.system"}, "vision_backbone ('os.system') in config.json, where resnet18, resnet34"),
    ("act", {"dim_model": 32, "n_heads": 5}, "dim_model (32) in config.json, which is no multiple of n_heads (5)"),
    ("act", {"input_features": STATE}, "neither a camera nor the environment's state"),
    ("diffusion", {"prediction_type": "x"}, "prediction_type ('x') in config.json, where epsilon, sample can be"),
    ("diffusion", {"noise_scheduler_type": "DPM"}, "noise_scheduler_type ('DPM')"),
    ("diffusion", {"horizon": 8, "n_obs_steps": 2}, "n_action_steps (8) in config.json, and of its horizon (8) only 7"),
    ("diffusion", {"horizon": 18, "down_dims": [8, 8, 8]}, "horizon (18) in config.json, which is no multiple of 8"),
    ("diffusion", {"crop_shape": [84, 65]}, "crop_shape ([84, 65]) in config.json, which is no part of observation.im"),
    ("diffusion", {"input_features": cameras((3, 96, 96), (3, 64, 64))}, "cameras of different sizes"),
    ("vqbet", {}, "2 cameras among the input_features of config.json, where 1 can be"),
    ("tdmpc", {"n_action_steps": 1}, "2 cameras among the input_features of config.json, where 0 or 1 can be"),
    ("tdmpc", {"input_features": cameras((3, 96, 64)), "n_action_steps": 1}, "that is not square"),
    ("tdmpc", {**ONE, "horizon": 5}, "n_action_steps (8) in config.json, and its horizon is 5"),
    ("tdmpc", {**ONE, "n_action_steps": 2, "n_action_repeats": 2}, "n_action_repeats (2) in config.json, which is 1"),
    ("tdmpc", {**ONE, "n_action_steps": 2, "use_mpc": False}, "use_mpc (False) in config.json, which is True"),
    ("fastwam", {"action_horizon": 6}, "n_action_steps (8) in config.json, and its action_horizon is 6"),
    ("pi0", {"dtype": "int8"}, "dtype ('int8') in config.json, where bfloat16, float32 can be"),
    ("pi05", {"paligemma_variant": "x"}, "paligemma_variant ('x')"),
    ("xvla", {"input_features": STATE}, "0 cameras among the input_features of config.json, where 1 or more can be"),
    ("smolvla", {"input_features": FILLED, "empty_cameras": 1}, NONE),
    *((kind, {"input_features": STATE}, NONE) for kind in ("evo1", "pi0", "pi05", "pi0_fast", "smolvla")),
    *(
        (
            kind,
            {"input_features": LOOKS, "n_action_steps": 1},
            f"no observation.state among the input_features of config.json, and a policy of the type {kind} needs it",
        )
        for kind in ("diffusion", "multi_task_dit", "smolvla", "vqbet")
    ),
    *(
        (kind, {"input_features": cameras((3, 96, 96), (3, 64, 64))}, "cameras of different sizes")
        for kind in ("gaussian_actor", "groot", "sac")
    ),
    ("eo1", {"image_min_pixels": None}, "image_min_pixels (None) in config.json, where a whole number is"),
    ("smolvla", {"attention_mode": "self_attn", "num_vlm_layers": 4, "num_expert_layers": 2}, "num_expert_layers (2)"),
    ("wall_x", {"attn_implementation": "sdpa"}, "attn_implementation ('sdpa') in config.json, where eager can be"),
]
RIGHT = [
    ("act", {"n_obs_steps": 1, "temporal_ensemble_coeff": 0.01, "n_action_steps": 1}),
    ("act", {"input_features": {**STATE, "observation.environment_state": {"type": "ENV", "shape": [4]}}}),
    ("diffusion", {"horizon": 16, "n_obs_steps": 3, "n_action_steps": 14, "down_dims": [8, 8], "crop_shape": [64, 64]}),
    ("diffusion", {"crop_shape": [84, 84], "resize_shape": [96, 96]}),
    ("multi_task_dit", {"n_obs_steps": 2, "horizon": 9}),
    ("vqbet", {**ONE, "n_obs_steps": 5, "crop_shape": [84, 84]}),
    ("tdmpc", {**ONE, "n_action_steps": 1, "n_action_repeats": 2, "use_mpc": False}),
    *((kind, {"input_features": LOOKS}) for kind in ("gaussian_actor", "of_nobody", "pi0", "vla_jepa", "xvla")),
    ("act", {"input_features": cameras((3, 96, 96), (3, 64, 64))}),
    ("smolvla", {"attention_mode": "cross_attn", "num_vlm_layers": 4, "num_expert_layers": 2}),
    ("smolvla", {"attention_mode": "self_attn", "num_vlm_layers": 4, "num_expert_layers": 0}),
    ("of_nobody", {"n_obs_steps": 7, "vision_backbone": "x"}),
]


def said(tmp_path, kind, config):
    return "; ".join(rules.refused(read(LocalPlace(write_files(tmp_path / "m", kind=kind, **config)))))


@pytest.mark.parametrize(("kind", "config", "text"), WRONG)
def test_what_cannot_be_together(kind, config, text, tmp_path):
    assert text in said(tmp_path, kind, config)


@pytest.mark.parametrize(("kind", "config"), RIGHT)
def test_what_can_be_together(kind, config, tmp_path):
    assert said(tmp_path, kind, config) == ""


def test_it_is_told_before_anything_listens(tmp_path):
    folder = write_files(tmp_path / "m", n_obs_steps=2)
    with pytest.raises(LoadFailed, match=r"/m says n_obs_steps \(2\) in config\.json: a policy of the type act"):
        LeRobotLoader(LeRobotOptions()).check(Checkpoint(id="m", location=str(folder)))
