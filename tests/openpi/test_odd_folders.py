"""Files as only an accident or an enemy makes them: one odd step hides no other, and none costs time or memory."""

import json
import os
import resource

import pytest
from offboard_openpi import files
from offboard_openpi.registry import OpenPIRegistry
from openpi_standin import write_run, write_step


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "exp", {1000: 0.1, 2000: 0.2})


def ids(place):
    return [checkpoint.id for checkpoint in OpenPIRegistry(str(place)).checkpoints()]


def test_links_in_a_circle_are_not_followed_for_ever(run):
    for name in ("a", "b", "c"):
        (run / "2000" / "assets" / name).symlink_to(run / "2000", target_is_directory=True)
    assert ids(run) == ["1000", "2000"]


def test_links_that_multiply_end(run, monkeypatch):
    monkeypatch.setattr(files, "_MOST_FILES", 1000)
    place = run / "2000" / "assets"
    for _ in range(24):
        (place / "next").mkdir()
        for name in ("a", "b"):
            (place / name).symlink_to(place / "next", target_is_directory=True)
        place = place / "next"
    assert ids(run) == ["1000"]


def test_a_pipe_is_not_waited_for(run):
    os.mkfifo(run / "2000" / "wandb")
    assert ids(run) == ["1000", "2000"]


def test_a_link_to_nothing_beside_the_weights_hides_no_step(run):
    (run / "2000" / "notes").symlink_to(run / "gone")
    assert ids(run) == ["1000", "2000"]


@pytest.mark.parametrize("record", [b"no json", b"[]", b"\xff\xfe", b'{"a":' * 100_000])
def test_a_record_that_cannot_be_read_hides_its_own_step_alone(run, record):
    (run / "2000" / "offboard.json").write_bytes(record)
    assert ids(run) == ["1000"]


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"data_offsets": [0, "x"]}},
        {"w": {"data_offsets": [0, None]}},
        {"w": {"data_offsets": [0, 1e400]}},
        {"w": 5},
        [],
    ],
    ids=str,
)
def test_odd_weights_hide_their_own_step_alone(run, header):
    weights = write_step(run / "3000", pytorch=True) / "model.safetensors"
    text = json.dumps(header).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text)
    assert ids(run) == ["1000", "2000"]


def test_nested_weights_hide_their_own_step_alone(run):
    weights = write_step(run / "3000", pytorch=True) / "model.safetensors"
    text = b"[" * 200_000
    weights.write_bytes(len(text).to_bytes(8, "little") + text)
    assert ids(run) == ["1000", "2000"]


def test_what_a_file_says_of_its_length_is_not_believed(run):
    weights = write_step(run / "3000", pytorch=True) / "model.safetensors"
    with weights.open("wb") as file:  # a sparse file: it takes no disk
        file.write((2 * 2**30).to_bytes(8, "little"))
        file.truncate(3 * 2**30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ids(run) == ["1000", "2000"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB
