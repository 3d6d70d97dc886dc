"""A size that a config says and its weights do not have is refused before room is made for it."""

import json
import re
from dataclasses import replace

import pytest
from lerobot_checkpoints import write_files
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_lerobot import sizes, widths
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry


def check(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    LeRobotLoader(LeRobotOptions()).check(checkpoint)


WRONG = {
    "a horizon without end": (
        {"chunk_size": 10**30},
        r"chunk_size \(10{30}\) in .*, and no axis of its weights is longer",
    ),
    "a width": (
        {"latent_dim": 10**9},
        r"latent_dim \(1000000000\) in config\.json, and no axis .* longer than 2\. Take the",
    ),
    "layers": ({"n_encoder_layers": 1000}, r"n_encoder_layers \(1000\) in config\.json, and it has 1 weights in all"),
}


WRONG_OF = {
    "steps without end": ("smolvla", {"num_steps": 5000}, r"num_steps \(5000\) in .*, from 1 to 1,000$"),
    "no step": (
        "pi05",
        {"num_inference_steps": 0},
        r"num_inference_steps \(0\) in config\.json, where a number of steps",
    ),
    "cameras": (
        "smolvla",
        {"empty_cameras": 10**9},
        r"empty_cameras \(1000000000\) .* a number of cameras .* 0 to 16$",
    ),
    "a picture": (
        "smolvla",
        {"resize_imgs_with_padding": [100_000, 100_000]},
        r"100000\]\) in .*: no picture has so many pixels$",
    ),
    "a layer that is wider than any": (
        "smolvla",
        {"expert_width_multiplier": 20_000},
        r"expert_width_multiplier \(20000\) in config\.json, where a number above 0, of at most 64, is expected$",
    ),
    "one of no width": ("xvla", {"mlp_ratio": 0.0}, r"mlp_ratio \(0\.0\) in .*, where a number above 0, of at most 64"),
    "a width in a list": (
        "diffusion",
        {"down_dims": [60_000, 8]},
        r"^down_dims \(60000\) in down_dims in .* at most 16384",
    ),
    "a width in a map": (
        "xvla",
        {"florence_config": {"text_config": {"vocab_size": 10**9, "rope_theta": 10**6}}},
        r"^vocab_size \(1000000000\) in florence_config in config\.json, and its weights have at most 16384\. Take",
    ),
    "layers in a map": (
        "fastwam",
        {"video_dit_config": {"num_layers": 10**9}},
        r"^num_layers \(1000000000\) in video_dit",
    ),
    "no picture": ("vqbet", {"crop_shape": [84, -1]}, r"crop_shape \(\[84, -1\]\) in .* are whole numbers from 1 on$"),
}


@pytest.mark.parametrize("which", WRONG_OF)
def test_a_number_that_a_load_would_not_end_with_is_named(tmp_path, which):
    kind, said, text = WRONG_OF[which]
    files = read(LocalPlace(write_files(tmp_path / "pretrained_model", kind=kind, **said)))
    [why] = sizes.refused(files)
    assert re.search(text, why)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("smolvla", {"num_steps": 1000, "empty_cameras": 16, "resize_imgs_with_padding": [512, 512]}),
        ("diffusion", {"num_inference_steps": None, "crop_shape": None, "crop_is_random": True}),
        ("multi_task_dit", {"rope_base": 100_000}),
        ("pi0", {"max_period": 20_000}),
        ("xvla", {"mlp_ratio": 4}),
        ("diffusion", {"down_dims": [512, 1024, 2048]}),
        ("eo1", {"vlm_config": {"max_window_layers": 80, "text_config": {"max_window_layers": 80}}}),
        ("xvla", {"florence_config": {"text_config": {"vocab_size": 96, "eos_token_id": 51289, "d_model": 1024}}}),
        ("molmoact2", {"image_keys": ["observation.images.left"]}),
    ],
)
def test_numbers_that_people_train_with_are_none_of_these(tmp_path, kind, said):
    assert [*sizes.refused(read(LocalPlace(write_files(tmp_path / "pretrained_model", kind=kind, **said))))] == []


@pytest.mark.parametrize("which", WRONG)
def test_a_number_that_its_weights_do_not_have_is_named(tmp_path, which):
    said, text = WRONG[which]
    folder = write_files(tmp_path / "pretrained_model")
    check(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
    with pytest.raises(LoadFailed, match=text):
        check(folder)


@pytest.mark.parametrize(("kind", "shape"), [("STATE", [2_000_000_000]), ("VISUAL", [3, 100_000, 100_000])])
def test_a_feature_of_more_numbers_than_anything_has_is_named(tmp_path, kind, shape):
    features = {"observation.x": {"type": kind, "shape": shape}}
    folder = write_files(tmp_path / "pretrained_model", input_features=features)
    with pytest.raises(LoadFailed, match=re.escape(f"that observation.x has {shape} numbers in config.json")):
        check(folder)


def widths_of(folder, kind, shapes, **said):
    files = read(LocalPlace(write_files(folder / "pretrained_model", kind=kind, **said)))
    tensors = {str(i): {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for i, shape in enumerate(shapes)}
    return [*widths.refused(replace(files, tensors=tensors))]


TEXT = {"text_config": {"d_model": 1024, "encoder_layers": 12, "vocab_size": 51289, "max_position_embeddings": 4096}}
ACT = [[3200, 512]] * 18 + [[512, 512]] * 80
ASKED = {
    "in a list": ("diffusion", [[512, 512, 5]], {"down_dims": [60000, 60000]}, r"down_dims \(60000\) in config\.json"),
    "in a map": (
        "xvla", [[51289, 1024]], {"florence_config": {"text_config": {"vocab_size": 10**9}}},
        r"florence_config\.text_config\.vocab_size \(1000000000\) .* longer than 51289",
    ),
    "of an adapter": (
        "xvla", [], {"florence_config": {"text_config": {"vocab_size": 51289, "encoder_layers": 10**9}}},
        r"text_config\.encoder_layers \(1000000000\)",
    ),
    "layers in a map": (
        "fastwam", [[64, 64]], {"video_dit_config": {"num_layers": 10**9}},
        r"video_dit_config\.num_layers .* 1 weights",
    ),
    "wider than its weights": ("act", ACT, {"dim_model": 16384}, r"dim_model \(16384\) .* longer than 3200"),
    "all together": (
        "act", ACT, {"dim_model": 6400, "n_encoder_layers": 64},
        r"dim_model \(6400\) and n_encoder_layers \(64\) .* make 2,621,440,000 numbers, .* have 50,462,720\. Take the",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", ASKED)
def test_a_network_that_is_much_larger_than_its_weights_is_named(tmp_path, which):
    kind, shapes, said, text = ASKED[which]
    [why] = widths_of(tmp_path, kind, shapes, **said)
    assert re.search(text, why)


@pytest.mark.parametrize(
    ("kind", "shapes", "said"),
    [
        ("act", ACT, {"dim_model": 512, "dim_feedforward": 3200, "n_encoder_layers": 4}),
        ("diffusion", [[2048, 2048, 5]] * 4, {"down_dims": [512, 1024, 2048]}),
        ("diffusion", [], {"down_dims": [512, 1024, 2048]}),
        ("xvla", [[51289, 1024]] * 4, {"hidden_size": 1024, "depth": 24, "florence_config": TEXT}),
    ],
)
def test_networks_that_people_train_are_as_large_as_their_weights(tmp_path, kind, shapes, said):
    assert widths_of(tmp_path, kind, shapes, **said) == []
