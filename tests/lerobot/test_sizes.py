"""A size that a config says and its weights do not have is refused before room is made for it."""

import json
import re

import pytest
from lerobot_checkpoints import write_files
from offboard_client.errors import LoadFailed
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
