"""What a run leaves behind that was killed, and what is no recording."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filmed import begin, record, sample
from mcap.reader import SeekingReader
from mcap.records import Message
from mcap.stream_reader import StreamReader
from mcap.writer import Writer
from offboard_client.errors import RecordingFailed
from offboard_client.play import Outcome
from offboard_client.recording import (
    Episode,
    Recorder,
    RecordingFile,
    Said,
    finish,
    finish_all,
    glance,
    is_finished,
    own,
)
from waits import until

#: Records for ever, each second of the episode in a tenth of one.
_RUN = """
import sys, time
from pathlib import Path
from filmed import begin, sample
from offboard_client.recording import Recorder
recorder = Recorder(Path(sys.argv[1]), {})
begin(recorder)
for number in range(10**9):
    sample(recorder, number, number % 5 == 0)
    time.sleep(0.005)
"""


def age(path: Path) -> None:
    """As if nobody had written to it for an hour."""
    hour_ago = time.time() - 3600
    os.utime(path, (hour_ago, hour_ago))


def _none(error: RecordingFailed) -> None:
    pytest.fail(error.text)


def left(folder: Path, cut: int = 40, periods: int = 20) -> Path:
    """What a killed run has left behind an hour ago."""
    path = record(folder, periods)
    path.write_bytes(path.read_bytes()[:-cut])
    age(path)
    return path


def test_a_killed_run_leaves_what_can_be_read_and_the_next_one_finishes(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(tmp_path)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        until(lambda: any(path.stat().st_size > 60_000 for path in tmp_path.glob("*.mcap")), "a second was written")
        (path,) = tmp_path.glob("*.mcap")
        assert not is_finished(path)
        assert not finish(path, quiet=0.0)  # it is being written
        with pytest.raises(RecordingFailed, match="is being recorded"):
            Episode(path)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    before = path.read_bytes()

    def looked_at() -> dict[str, list[Said]]:
        with Episode(path) as episode:
            assert episode.outcome == {
                "success": None, "failure": ["killed", "the run ended, or its disk was full, before the episode did"],
                "stopped": True,
            }  # fmt: skip
            # Of the last second each kind of message may have been written, or not yet.
            for topic in ("/video/wrist", "/observed", "/sent/wrist"):
                assert len(list(episode.messages([topic]))) >= 10, topic
            return {topic: list(episode.messages([topic])) for topic in episode.topics}

    seen = looked_at()
    assert path.read_bytes() == before, "nobody who reads it writes"
    assert list(finish_all(tmp_path, _none)) == [], "somebody may be copying it: it was written a moment ago"
    age(path)
    assert list(finish_all(tmp_path, _none)) == [path]
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert is_finished(path)
    assert looked_at() == seen
    with path.open("rb") as file:  # as others read it
        reader = SeekingReader(file, validate_crcs=True)
        counted, summary = sum(1 for _ in reader.iter_messages()), reader.get_summary()
    assert summary is not None
    assert summary.statistics is not None
    assert counted == summary.statistics.message_count == sum(map(len, seen.values()))
    assert list(finish_all(tmp_path, _none)) == []


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_the_last_part_may_lack_its_lists_of_messages(behind: int, tmp_path: Path) -> None:
    path = record(tmp_path, 20)
    with path.open("rb") as file:
        summary = SeekingReader(file).get_summary()
    assert summary is not None
    last = summary.chunk_indexes[-1]
    lists = sorted(last.message_index_offsets.values())
    assert len(lists) > 2
    with Episode(path) as episode:
        seen = {topic: list(episode.messages([topic])) for topic in episode.topics}
    path.write_bytes(path.read_bytes()[: lists[behind] + 5])
    age(path)
    for finished in (False, True):
        with Episode(path) as episode:
            assert {topic: list(episode.messages([topic])) for topic in episode.topics} == seen
            assert episode.finished == finished
        assert finish(path) != finished
    with path.open("rb") as file:
        found = list(StreamReader(file, validate_crcs=True).records)
    assert sum(isinstance(each, Message) for each in found) == sum(map(len, seen.values()))


def test_another_programs_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rosbag.mcap"
    with path.open("wb") as file:  # nobody has locked it
        writer = Writer(file, chunk_size=100)
        writer.start("ros2")
        writer.add_attachment(1, 1, "calibration.yaml", "text/plain", b"precious")
        channel = writer.register_channel("/t", "json", 0)
        writer.add_message(channel, 1, b"x" * 200, 1)
        file.flush()
        age(path)
        before = path.read_bytes()
        assert list(finish_all(tmp_path, _none)) == []
        assert not finish(path, quiet=0.0)
        with pytest.raises(RecordingFailed, match="no recording of offboard's"):
            Episode(path)
        assert path.read_bytes() == before
        writer.add_message(channel, 2, b"y" * 200, 2)
        writer.finish()
    with path.open("rb") as file:
        reader = SeekingReader(file)
        assert len(list(reader.iter_messages())) == 2
        assert [each.data for each in reader.iter_attachments()] == [b"precious"]


def test_a_copy_that_is_still_arriving_stays_as_it_is(tmp_path: Path) -> None:
    whole = record(tmp_path / "there", 40).read_bytes()
    path = tmp_path / "copy.mcap"
    with path.open("wb", buffering=0) as file:
        file.write(whole[: len(whole) * 2 // 3])
        with Episode(path) as episode:
            assert not episode.finished
            assert list(episode.messages(["/observed"]))
        assert not finish(path), "it was written to a moment ago"
        age(path)
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[file.fileno()],
        )  # fmt: skip
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            if sys.platform == "linux":
                assert not finish(path), "another process has it open"
            child.communicate()
        assert path.read_bytes() == whole[: len(whole) * 2 // 3]
        file.write(whole[len(whole) * 2 // 3 :])
    assert path.read_bytes() == whole
    assert is_finished(path)


def test_several_who_finish_one_at_once_are_in_nobodys_way(tmp_path: Path) -> None:
    path, again = left(tmp_path), threading.Barrier(4)

    def one() -> bool:
        again.wait()
        return finish(path)

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(one) for _ in range(4)]
        assert [each.result() for each in found].count(True) == 1
    with Episode(path) as episode:
        assert episode.finished


@pytest.mark.parametrize("what", ["empty", "text", "pipe", "folder", "cut", "damaged"])
def test_what_else_lies_in_the_folder_is_nobodys_concern(what: str, tmp_path: Path) -> None:
    mine, other = left(tmp_path), tmp_path / "0.mcap"
    if what == "pipe":
        os.mkfifo(other)
    elif what == "folder":
        other.mkdir()
    elif what == "damaged":
        whole = record(tmp_path / "more")
        with whole.open("rb") as file:
            summary = SeekingReader(file).get_summary()
        assert summary is not None
        ends = summary.chunk_indexes[-1].chunk_start_offset
        other.write_bytes(whole.read_bytes()[:ends] + b"what no recorder writes" * 9)
    else:
        other.write_bytes({"empty": b"", "text": b"a text", "cut": mine.read_bytes()[:60]}[what])
    if other.is_file():
        age(other)
    said: list[str] = []
    assert list(finish_all(tmp_path, lambda error: said.append(error.text))) == [mine]
    assert len(said) == (what == "damaged")
    with pytest.raises(RecordingFailed, match=r"^0\.mcap "):
        Episode(other)
    with pytest.raises(RecordingFailed, match=r"^0\.mcap "):
        glance(other) if what != "damaged" else Episode(other)


@pytest.mark.parametrize("finished", [True, False])
def test_one_bit_that_is_not_what_was_written_is_said_by_all_who_read_it(finished: bool, tmp_path: Path) -> None:
    path = record(tmp_path, 20)
    with path.open("rb") as file:
        summary = SeekingReader(file).get_summary()
    assert summary is not None
    whole = path.read_bytes()
    for chunk in summary.chunk_indexes:
        # The last byte of what is packed: what is unpacked has its length all the same, or not.
        for back in (1, 2, 5, 9):
            data = bytearray(whole if finished else whole[:-40])
            data[chunk.chunk_start_offset + chunk.chunk_length - back] ^= 1
            path.write_bytes(data)
            age(path)
            with pytest.raises(RecordingFailed, match="is damaged"), Episode(path) as episode:
                list(episode.messages(episode.topics))
            with contextlib.suppress(RecordingFailed):
                finish(path, quiet=0.0)
            with pytest.raises(RecordingFailed, match="is damaged"), Episode(path) as episode:
                list(episode.messages(episode.topics))


def test_what_is_before_a_hole_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lost its power had written the file out of order: zeros, and then what came later."""
    monkeypatch.setattr("offboard_client.recording.file._EVERY", 0.0)  # as many blocks as messages
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    for number in range(12):
        sample(recorder, number)
    file = recorder._file
    assert file is not None
    file.abandon()
    data, path = file.path.read_bytes(), file.path
    with Episode(path) as episode:
        everything = [(said.topic, said.at) for said in episode.messages(episode.topics)]
        middle = episode.blocks(["/observed"])[3].offset
        assert episode.lost == 0
    found = set[int]()
    for at in range(middle, len(data) - 1200, 83):
        holed = data[:at] + bytes(700) + data[at + 700 :]
        path.write_bytes(holed)
        with Episode(path) as episode:
            assert at - 700 < len(data) - episode.lost <= at + 100, "all but what the hole is in"
            read = [(said.topic, said.at) for said in episode.messages(episode.topics)]
        assert read
        assert sorted(read, key=everything.index) == [each for each in everything if each in set(read)]
        found.add(len(read))
        age(path)
        failures: list[str] = []
        assert not list(finish_all(tmp_path, lambda error, failures=failures: failures.append(error.text)))
        assert len(failures) == 1
        assert re.search(r"has a hole at byte \d+, .* can be read, [\d,]+ bytes from there on cannot", failures[0])
        assert path.read_bytes() == holed
    assert min(found) < max(found) < len(everything)


@pytest.mark.parametrize("more", [b"somebody's own bytes", b"\x89MCAP0\r\n" + bytes(40) + b"x"])
def test_what_somebody_put_behind_the_end_is_not_cut_off(more: bytes, tmp_path: Path) -> None:
    path = record(tmp_path, 4)
    whole = path.read_bytes() + more
    path.write_bytes(whole)
    age(path)
    with pytest.raises(RecordingFailed, match="is damaged"):
        finish(path)
    assert path.read_bytes() == whole


def test_an_index_that_is_not_what_was_written_is_said(tmp_path: Path) -> None:
    path = record(tmp_path, 4)
    data = bytearray(path.read_bytes())
    data[len(data) - 300] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordingFailed, match="is damaged: its index is not what was written"):
        Episode(path)


def _describe(path: Path, about: dict[str, str], outcome: dict[str, str]) -> None:
    """A recording whose metadata says this, too."""
    known = {"version": "1", "wall_time": "1.8e9", "run": "{}", "meta": "{}"}
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("offboard")
        writer.add_metadata("offboard.episode", known | about)
        writer.add_metadata("offboard.outcome", {"success": "true"} | outcome)
        writer.finish()


@pytest.mark.parametrize(
    ("about", "outcome", "says"),
    [
        ({"wall_time": "NaN"}, {}, "wall_time is nan; expected a number"),
        ({"wall_time": "Infinity"}, {}, "wall_time is inf; expected a number"),
        ({"wall_time": "1" + "0" * 400}, {}, "wall_time is 1000"),
        ({"wall_time": '"yesterday"'}, {}, "wall_time is 'yesterday'; expected a number"),
        ({"number": "NaN"}, {}, "number is nan; expected a whole number"),
        ({"meta": "[" * 100_000}, {}, "is damaged"),
        ({"meta": "{"}, {}, "is damaged"),
        ({"run": "[1]"}, {}, r"run is \[1\]; expected a map"),
        ({}, {"success": "NaN"}, "success is nan; expected true or false"),
        ({}, {"seconds": "NaN"}, "seconds is nan; expected a number"),
        ({}, {"seconds": "1e300"}, "seconds is 1e"),
        ({}, {"failure": "[NaN]"}, r"failure is \[nan\]"),
        ({}, {"missed": '"<b>"'}, "missed is '<b>'"),
    ],
)
def test_what_says_of_itself_what_no_recorder_says_is_named(
    about: dict[str, str], outcome: dict[str, str], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.mcap"
    _describe(path, {}, {})
    Episode(path).close()
    _describe(path, about, outcome)
    for look in (Episode, glance):
        with pytest.raises(RecordingFailed, match=says):
            look(path)


def test_a_topic_of_another_schema_is_named(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "odd.mcap")
    file.describe("offboard.episode", {"version": 1})
    file.write("/played", own("Text"), 10**18, text="x")
    file.finish()
    with pytest.raises(RecordingFailed, match=r"/played has messages of 'offboard\.Text'; expected offboard\.Played"):
        Episode(file.path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_file_that_was_cut_off_is_read_to_where_it_ends(share: float, tmp_path: Path) -> None:
    clock = iter(range(10**9, 2 * 10**9))
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    assert recorder._file is not None
    recorder._file._clock = lambda: float(next(clock))  # closes what was written at each message
    for number in range(40):
        sample(recorder, number)
    recorder.ended(Outcome(True))
    (path,) = recorder.recorded.files
    whole = path.read_bytes()
    with Episode(path) as episode:
        seen = [said.at for said in episode.messages(["/observed"])]
    with path.open("rb") as file:
        summary = SeekingReader(file).get_summary()
    assert summary is not None
    chunk = summary.chunk_indexes[int(share * len(summary.chunk_indexes))]
    path.write_bytes(whole[: chunk.chunk_start_offset + chunk.chunk_length // 2])
    with Episode(path) as episode:
        found = [said.at for said in episode.messages(["/observed"])]
    assert found == seen[: len(found)]
    assert len(found) == pytest.approx(share * len(seen), abs=1)


def test_an_end_that_was_reached_is_kept(tmp_path: Path) -> None:
    path = record(tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with Episode(path) as episode:
        assert episode.outcome["success"] is True


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no such limit here")
def test_a_disk_without_room_for_the_index_loses_nothing(tmp_path: Path) -> None:
    path = left(tmp_path, 4000)
    with Episode(path) as episode:
        seen = {topic: list(episode.messages([topic])) for topic in episode.topics}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, before[1]))
    try:
        with pytest.raises(RecordingFailed, match="cannot be finished: File too large"):
            finish(path)
        age(path)
        said: list[str] = []
        assert list(finish_all(tmp_path, lambda error: said.append(error.text))) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(said) == 1
    assert len(list(tmp_path.iterdir())) == 1
    for finished in (False, True):
        with Episode(path) as episode:
            assert episode.finished == finished
            assert {topic: list(episode.messages([topic])) for topic in episode.topics} == seen
        age(path)
        assert finish(path) != finished


def test_a_disk_without_room_for_a_byte_leaves_no_file(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 60):  # for nothing, and for no more than the header
        recorder = Recorder(tmp_path, {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            begin(recorder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "cannot be written" in (recorder.recorded.failure or "")
        assert recorder.recorded.files == list(tmp_path.iterdir()) == []


def _foreign(path: Path) -> None:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.finish()


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    text, foreign, newer = tmp_path / "a.mcap", tmp_path / "b.mcap", record(tmp_path)
    text.write_text("hello, this is a text of some length")
    with pytest.raises(RecordingFailed, match=r"a\.mcap is no recording: it does not begin as an MCAP file does"):
        Episode(text)
    _foreign(foreign)
    with pytest.raises(RecordingFailed, match=r"b\.mcap is an MCAP file, and no recording of offboard's"):
        Episode(foreign)
    with pytest.raises(RecordingFailed, match=r"c\.mcap cannot be read: No such file"):
        Episode(tmp_path / "c.mcap")
    newer.write_bytes(newer.read_bytes().replace(b"\x07\0\0\0version\x01\0\0\x001", b"\x07\0\0\0version\x01\0\0\x009"))
    with pytest.raises(RecordingFailed, match="is a recording of version 9, and this offboard reads version 1"):
        Episode(newer)
    damaged = record(tmp_path, periods=200)
    whole = bytearray(damaged.read_bytes())
    # So much that it hits what is read, however many parts it was written in: a busy machine flushes more often.
    whole[len(whole) // 5 : len(whole) // 2] = bytes(len(whole) // 2 - len(whole) // 5)
    damaged.write_bytes(whole)
    with Episode(damaged) as episode, pytest.raises(RecordingFailed, match="is damaged"):
        list(episode.messages(episode.topics))
