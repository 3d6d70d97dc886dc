"""A checkpoint that is another one by the time it is loaded is no model that anybody listed."""

import json
import shutil

import pytest
from lerobot_checkpoints import write_files
from offboard_client.errors import LoadFailed
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry


def listed(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return checkpoint


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("offboard.json", {"codec": "lerobot.joints"}, "its recorded differ"),
        ("config.json", {"output_features": {"action": {"type": "ACTION", "shape": [3]}}}, "its outputs differ"),
    ],
)
def test_what_was_replaced_since_it_was_listed_is_not_loaded(tmp_path, name, change, said):
    folder = write_files(tmp_path / "pretrained_model")
    checkpoint = listed(folder)
    there = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps({**there, **change}))
    with pytest.raises(LoadFailed, match=f"was replaced since it was listed: {said}"):
        LeRobotLoader(LeRobotOptions()).load(checkpoint, lambda _: None)


@pytest.mark.parametrize("how", ["written", "replaced", "removed"])
def test_what_is_written_to_while_it_is_loaded_is_not_served(act, tmp_path, how):
    folder = shutil.copytree(act, tmp_path / "copy")
    weights, whole = folder / "model.safetensors", (folder / "model.safetensors").read_bytes()

    def report(said):
        if said.startswith("warming"):
            if how != "written":
                weights.unlink()
            if how != "removed":
                weights.write_bytes(whole)

    with pytest.raises(LoadFailed, match="was written to while it was loaded"):
        LeRobotLoader(LeRobotOptions(device="cpu")).load(listed(folder), report)
