"""What people say of a recording: beside it, whole or not at all, and nobody's words are lost to another's."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from offboard_client.errors import BadParameter, RecordingFailed
from offboard_client.evaluation import Clip, Review, edit_review, read_review, review_path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "20261127-0001.mcap"
    path.write_bytes(b"recorded")
    return path


def test_what_is_said_stands_beside_the_recording_and_is_read_again(recording: Path) -> None:
    assert read_review(recording) == Review()
    clip = Clip("c1", (1.0, 2.5), (10**18, 10**18 + 10**9), "the slip")
    said, lost = edit_review(
        recording, {"outcome": "partial", "items": 2, "items_total": 5, "note": "<b>two</b>\nof five ✓"}, {},
        tags={"dropped": True}, clips=[clip],
    )  # fmt: skip
    assert not lost
    assert (said.score, said.tags, said.clips) == (0.4, ("dropped",), (clip,))
    assert read_review(recording) == said
    assert sorted(path.name for path in recording.parent.iterdir()) == [recording.name, "20261127-0001.review.json"]
    assert recording.read_bytes() == b"recorded"
    said, _ = edit_review(recording, {}, {}, tags={"dropped": False, "late": True}, dropped=["c1"])
    assert (said.tags, said.clips, said.note) == (("late",), (), "<b>two</b>\nof five ✓")


def test_who_has_not_seen_what_another_said_does_not_write_over_it(recording: Path) -> None:
    edit_review(recording, {"note": "first"}, {"note": ""})
    said, lost = edit_review(recording, {"note": "second", "outcome": "fail"}, {"note": "", "outcome": None})
    assert (lost, said.note, said.outcome) == (["note"], "first", None)
    assert read_review(recording).note == "first"
    said, lost = edit_review(recording, {"outcome": "fail"}, {})  # another field is nobody's loss
    assert (lost, said.note, said.outcome) == ([], "first", "fail")
    said, lost = edit_review(recording, {"note": "both"}, {"note": "first"})
    assert (lost, said.note) == ([], "both")


def test_what_many_say_at_once_is_all_there(recording: Path) -> None:
    clip = Clip("c", (0.0, 1.0), (1, 2))

    def say(number: int) -> None:
        for step in range(5):
            name = f"{number}-{step}"
            edit_review(recording, {}, {}, tags={name: True} if number < 5 else {}, clips=[
                Clip(name, clip.seconds, clip.at)
            ])  # fmt: skip

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = read_review(recording)
    assert (len(said.tags), len(said.clips)) == (25, 40)


def test_another_process_waits_its_turn(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("offboard_client.evaluation.reviews._PATIENCE", 0.05)
    other = os.open(recording.parent, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(RecordingFailed, match="somebody else keeps writing"):
        edit_review(recording, {"note": "x"}, {})
    os.close(other)
    assert edit_review(recording, {"note": "x"}, {})[0].note == "x"


def test_a_full_disk_leaves_what_was_said_before(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_review(recording, {"note": "before"}, {})
    whole = review_path(recording).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordingFailed, match=r"cannot be written: No space left on device; what was said before is"):
        edit_review(recording, {"note": "after"}, {"note": "before"})
    assert review_path(recording).read_bytes() == whole
    assert len(list(recording.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "more", "says"),
    [
        ({"outcome": "great"}, {}, "outcome 'great'"),
        ({"outcome": "annulled"}, {}, "annulled"),
        ({"score": 1}, {}, "'score'"),
        ({"items": -1}, {}, "items is a whole number"),
        ({"items": True}, {}, "items is a whole number"),
        ({"items": 3, "items_total": 2}, {}, "3 items were done of 2"),
        ({"note": "x" * 10_001}, {}, "a note is a text of at most 10000"),
        ({"note": "\ud800"}, {}, "half a character"),
        ({"note": 3}, {}, "a note is a text"),
        ({}, {"tags": {" ": True}}, "a tag is a word"),
        ({}, {"tags": {"a\nb": True}}, "a tag is a word"),
        ({}, {"tags": {str(i): True for i in range(33)}}, "at most 32"),
        ({}, {"clips": [Clip("c", (2.0, 1.0), (1, 2))]}, "ends after it begins"),
        ({}, {"clips": [Clip("c", (float("nan"), 1.0), (1, 2))]}, "ends after it begins"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_written(
    recording: Path, words: Any, more: Any, says: str
) -> None:
    with pytest.raises(BadParameter, match=says):
        edit_review(recording, words, {}, **more)
    assert not review_path(recording).exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no review"),
        ("[]", "begins with 'offboard_review'"),
        ('{"offboard_review": 2}', "it is of version 2, and this offboard reads version 1"),
        ('{"offboard_review": 1, "tags": "x"}', "tags are a list"),
        ('{"offboard_review": 1, "clips": [{"id": "c"}]}', "a clip has an id"),
        (" " * (1 << 20) + "{}", "larger than"),
        ('{"offboard_review": 1, "changed": NaN}', "it has the number 'NaN'"),
        ('{"offboard_review": 1, "changed": 1e999}', "it has the number '1e999'"),
        ('{"offboard_review": 1, "changed": 1' + "0" * 400 + "}", "changed is a time in seconds"),
        ('{"offboard_review": 1, "changed": "now"}', "changed is a time in seconds"),
        ('{"offboard_review": 1, "mood": [-Infinity]}', "it has the number '-Infinity'"),
    ],
)
def test_a_file_that_is_none_is_left_as_it_is(recording: Path, text: str, says: str) -> None:
    review_path(recording).write_text(text)
    with pytest.raises(RecordingFailed, match=says):
        read_review(recording)
    with pytest.raises(RecordingFailed, match=says):
        edit_review(recording, {"note": "x"}, {})
    assert review_path(recording).read_text() == text


def test_a_pipe_is_not_waited_for(recording: Path) -> None:
    os.mkfifo(review_path(recording))
    with pytest.raises(RecordingFailed, match="is no review: it is no file"):
        read_review(recording)


def test_what_a_newer_version_added_is_kept(recording: Path) -> None:
    review_path(recording).write_text('{"offboard_review": 1, "note": "a", "mood": ["good"]}')
    edit_review(recording, {"note": "b"}, {"note": "a"})
    told = json.loads(review_path(recording).read_text())
    assert (told["note"], told["mood"]) == ("b", ["good"])


def test_nothing_is_said_of_a_recording_that_is_gone(recording: Path) -> None:
    recording.unlink()
    with pytest.raises(RecordingFailed, match="is gone"):
        edit_review(recording, {"note": "x"}, {})


def test_it_counts_as_a_trial_of_an_evaluation(recording: Path) -> None:
    with pytest.raises(BadParameter, match="nobody has scored it"):
        Review().trial("m", 3, recording.name)
    with pytest.raises(BadParameter, match="how many items of how many"):
        Review("partial", items=2).trial("m", 3, recording.name)
    trial = Review("partial", 2, 5, "slipped", ("dropped",), changed=7.0).trial("m", 3, recording.name)
    assert (trial.score, trial.tags, trial.note, trial.recording) == (0.4, ("dropped",), "slipped", recording.name)
    assert Review("success").trial("m", 3, "r").value("score") == 1.0
