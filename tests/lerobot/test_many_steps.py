"""A run of thousands of steps is looked at whenever a client asks for a model, and read once."""

import json
import shutil

import pytest
from lerobot_checkpoints import write_files
from offboard_client.errors import ModelNotFound
from offboard_lerobot import registry
from offboard_lerobot.registry import LeRobotRegistry


@pytest.fixture
def run(tmp_path):
    for step in range(1, 6):
        write_files(tmp_path / "checkpoints" / f"{step:06d}" / "pretrained_model")
    return tmp_path


def test_a_step_is_read_again_when_it_has_changed(run, monkeypatch):
    read, reads = registry.read, []

    def counted(place):
        reads.append(place.folder.parent.name)
        return read(place)

    monkeypatch.setattr(registry, "read", counted)
    steps = run / "checkpoints"
    made = LeRobotRegistry(str(run))
    assert len(made.checkpoints()) == 5
    reads.clear()
    with pytest.raises(ModelNotFound):
        made.resolve("nothing")
    assert made.resolve("3").id == "000003"
    assert reads == []

    (steps / "000002" / "offboard.json").write_text(json.dumps({"action_fps": 10}))
    (steps / "000003" / "pretrained_model" / "model.safetensors").write_bytes(b"half")
    shutil.rmtree(steps / "000004")
    write_files(steps / "000006" / "pretrained_model")
    assert [checkpoint.id for checkpoint in made.checkpoints()] == ["000001", "000002", "000005", "000006"]
    assert made.resolve("2").recorded == {"action_fps": 10}
    assert sorted(set(reads)) == ["000002", "000003", "000006"]
    with pytest.raises(ModelNotFound, match="000003"):
        made.resolve("3")
