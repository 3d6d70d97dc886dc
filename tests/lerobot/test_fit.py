"""A size that a config says and its weights have otherwise is told before the server listens, not by a load."""

import json
import shutil
from dataclasses import replace

import pytest
from lerobot_checkpoints import kinds, save_policy
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import Checkpoint
from offboard_lerobot import fit
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions

KINDS = [kind for kind in kinds() if kind in fit._AXES]


@pytest.mark.parametrize("kind", KINDS)
def test_each_size_that_a_tensor_tells_is_held_against_it(lerobot, kind, tmp_path):
    """As LeRobot itself saves them, whose loads have the last word."""
    files = read(LocalPlace(save_policy(tmp_path / "m", kind)))
    assert [*fit.refused(files)] == []
    told = {**fit._AXES[kind], **fit._COUNTS.get(kind, {})}
    if kind == "pi05":
        told.pop("max_state_dim")  # which it has in its prompt
    for field in told:
        config = json.loads(json.dumps(files.config))
        features = config["input_features"] | config["output_features"]
        if field in features:
            features[field]["shape"][0] += 1
        elif isinstance(config[field], list):
            config[field][-1] += 1
        else:
            config[field] += 1
        assert any(text.startswith(f"{field} (") for text in fit.refused(replace(files, config=config))), field


def test_it_is_told_before_anything_listens(act, tmp_path):
    folder = shutil.copytree(act, tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dim_feedforward": 64, "chunk_size": 40}))
    with pytest.raises(LoadFailed) as raised:
        LeRobotLoader(LeRobotOptions()).check(Checkpoint(id="m", location=str(folder)))
    for said in (
        "/m says chunk_size (40) in config.json, and model.decoder_pos_embed.weight of its weights is [16, 32]. T",
        "dim_feedforward (64) in config.json, and model.decoder.layers.0.linear1.weight of its weights is [32, 32].",
    ):
        assert said in raised.value.text
