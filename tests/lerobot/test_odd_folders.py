"""Files as only an accident or an enemy makes them: one odd step hides no other, and none costs time or memory."""

import json
import os
import resource

import pytest
from lerobot_checkpoints import write_files
from offboard_lerobot.registry import LeRobotRegistry


@pytest.fixture
def run(tmp_path):
    for step in ("001000", "002000"):
        write_files(tmp_path / "checkpoints" / step / "pretrained_model")
    return tmp_path


def ids(place):
    return [checkpoint.id for checkpoint in LeRobotRegistry(str(place)).checkpoints()]


def files(run):
    return run / "checkpoints" / "002000" / "pretrained_model"


@pytest.mark.parametrize(
    "header",
    [{"w": {"data_offsets": [0, "x"]}}, {"w": {"data_offsets": [0, None]}}, {"w": {"data_offsets": [0, 1e400]}}, []],
    ids=str,
)
def test_odd_weights_hide_their_own_step_alone(run, header):
    text = json.dumps(header).encode()
    (files(run) / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    assert ids(run) == ["001000"]


@pytest.mark.parametrize(
    "shape", [[-5], [2**70], [[3]], "abc", 7, None, [True], [1] * 100], ids=lambda shape: str(shape)[:20]
)
def test_odd_features_hide_their_own_step_alone(run, shape):
    config = json.loads((files(run) / "config.json").read_text())
    config["input_features"]["observation.state"]["shape"] = shape
    (files(run) / "config.json").write_text(json.dumps(config))
    assert ids(run) == ["001000"]


@pytest.mark.parametrize("name", ["config.json", "policy_preprocessor.json", "offboard.json"])
def test_a_json_file_of_gigabytes_is_not_read(run, name):
    with (files(run) / name).open("wb") as file:  # sparse: it takes no disk
        file.truncate(2 * 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ids(run) == ["001000"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB


def name_a_shard(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"weight": f"{name}.safetensors"}}))


def name_numbers(folder, name):
    steps = [{"registry_name": "normalizer_processor", "config": {}, "state_file": name}]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"steps": steps}))


@pytest.mark.parametrize("name_it", [name_a_shard, name_numbers])
@pytest.mark.parametrize(
    "name", ["a" * 300, "a" * 100_000, "a\0b", "a\ud800"], ids=["300", "100000", "null", "surrogate"]
)
def test_a_file_as_none_can_be_called_hides_its_own_step_alone(run, name_it, name):
    name_it(files(run), name)
    assert ids(run) == ["001000"]


def test_a_header_that_is_no_header_costs_neither_time_nor_memory(run):
    body = b'{"a":[' + b"{}," * 6_000_000 + b"{}]}"
    (files(run) / "model.safetensors").write_bytes(len(body).to_bytes(8, "little") + body)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ids(run) == ["001000"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # KiB; to read it takes half a GiB


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "offboard.json"])
def test_a_pipe_is_not_waited_for(run, name):
    (files(run) / name).unlink(missing_ok=True)
    os.mkfifo(files(run) / name)
    assert ids(run) == (["001000", "002000"] if name == "offboard.json" else ["001000"])
