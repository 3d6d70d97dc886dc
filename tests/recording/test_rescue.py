"""What a run leaves behind that was killed, and what is no recording."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filmed import begin, record, sample
from mcap.reader import SeekingReader
from mcap.writer import Writer
from offboard_client.errors import RecordingFailed
from offboard_client.play import Outcome
from offboard_client.recording import Episode, Recorder, finish, finish_all, is_finished, unfinished
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


def test_a_killed_run_leaves_what_the_next_one_finishes(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(tmp_path)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        until(lambda: any(path.stat().st_size > 60_000 for path in tmp_path.glob("*.mcap")), "a second was written")
        (path,) = tmp_path.glob("*.mcap")
        assert not is_finished(path)
        assert not finish(path)  # it is being written
        with pytest.raises(RecordingFailed, match="is being recorded"):
            Episode(path)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert list(finish_all(tmp_path, pytest.fail)) == [path]
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    with Episode(path) as episode:
        assert episode.outcome == {
            "success": None, "failure": ["killed", "the run ended before the episode did"], "stopped": True,
        }  # fmt: skip
        # Of the last second each kind of message may have been written, or not yet.
        for topic in ("/video/wrist", "/observed", "/sent/wrist"):
            assert len(list(episode.messages([topic]))) >= 10, topic
    assert list(finish_all(tmp_path, pytest.fail)) == []


def test_what_cannot_be_finished_stays_as_it_is_and_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offboard_client.recording.rescue._EVERY", 1000)
    cut = record(tmp_path)
    cut.write_bytes(cut.read_bytes()[:-40])
    foreign, text = tmp_path / "0.mcap", tmp_path / "1.mcap"
    _foreign(foreign)
    foreign.write_bytes(foreign.read_bytes()[:-40])
    text.write_text("junk")
    before, told, shares = foreign.read_bytes(), list[str](), list[float]()
    assert list(unfinished(tmp_path)) == [foreign, cut]
    assert list(finish_all(tmp_path, lambda error: told.append(error.text))) == [cut]
    assert told == ["0.mcap is an MCAP file without an end, and no recording of offboard's"]
    assert (foreign.read_bytes(), text.read_text()) == (before, "junk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mcap", "1.mcap", cut.name]
    cut.write_bytes(cut.read_bytes()[:-40])
    assert finish(cut, shares.append)
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1


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


def test_a_disk_without_room_for_the_index_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path)
    left = path.read_bytes()[:-40]
    path.write_bytes(left)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "finish", full)
    with pytest.raises(RecordingFailed, match="cannot be finished: No space left on device"):
        finish(path)
    assert path.read_bytes() == left
    assert len(list(tmp_path.iterdir())) == 1


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
