"""A recording looked at without its index, and by parts: the same as the whole says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from filmed import begin, record, sample
from offboard_client.errors import RecordingFailed
from offboard_client.play import Outcome
from offboard_client.recording import Episode, Recorder, decode_frame, decode_image, encode_jpeg, encode_png, glance


def long(folder: Path) -> Path:
    """An episode of 60 observations, of which each is closed to the reader by itself."""
    clock = iter(range(10**9, 2 * 10**9))
    recorder = Recorder(folder, {})
    begin(recorder)
    assert recorder._file is not None
    recorder._file._clock = lambda: float(next(clock))
    for number in range(60):
        sample(recorder, number, number % 4 == 0)
    recorder.ended(Outcome(False))
    return recorder.recorded.files[0]


def test_a_glance_says_what_the_whole_says(tmp_path: Path) -> None:
    path = record(tmp_path, task="t")
    seen = glance(path)
    with Episode(path) as episode:
        assert (seen.about, seen.outcome, seen.topics) == (episode.about, episode.outcome, episode.topics)
        assert (seen.start, seen.end) == (episode.start, episode.end)
    assert (seen.finished, seen.size) == (True, path.stat().st_size)


def test_a_glance_reads_little_of_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = long(tmp_path)
    read = [0]
    opened = Path.open

    def counting(self: Path, *args: object, **more: object) -> object:
        file = opened(self, *args, **more)  # type: ignore[arg-type]
        plain = file.read

        class Counted:
            def __enter__(self) -> object:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def read(self, size: int = -1) -> bytes:
                data = plain(size)
                read[0] += len(data)
                return data

        return Counted()

    with Episode(path) as episode:
        blocks = len(episode.blocks(episode.topics))
    monkeypatch.setattr(Path, "open", counting)
    assert glance(path).outcome["success"] is False
    assert 0 < read[0] < 5000 < path.stat().st_size
    assert blocks > 60


def test_blocks_hold_what_the_messages_are(tmp_path: Path) -> None:
    with Episode(long(tmp_path)) as episode:
        topics = ["/observed", "/video/wrist", "/observation/task"]
        by_blocks = [said for block in episode.blocks(topics) for said in episode.read_block(block, topics)]
        assert sorted(by_blocks, key=lambda s: (s.at, s.topic)) == sorted(
            episode.messages(topics), key=lambda s: (s.at, s.topic)
        )
        assert all(block.start <= block.end for block in episode.blocks(topics))
        numbers, pictures = episode.blocks(["/observed"]), episode.blocks(["/video/wrist"])
        assert not {block.offset for block in numbers} & {block.offset for block in pictures}
        assert episode.blocks(["/none"]) == episode.read_block(numbers[0], ["/video/wrist"]) == []


@pytest.mark.parametrize("what", ["bytes", "lengths"])
def test_a_damaged_block_is_named(tmp_path: Path, what: str) -> None:
    path = long(tmp_path)
    with Episode(path) as episode:
        block, other = episode.blocks(["/observed"])[20:22]
    data = bytearray(path.read_bytes())
    if what == "bytes":
        data[block.offset + block.length - 9] ^= 255
    else:
        data[block.offset + 9 + 16 : block.offset + 9 + 24] = b"\xff" * 8
    path.write_bytes(data)
    with Episode(path) as episode:
        with pytest.raises(RecordingFailed, match="is damaged"):
            episode.read_block(block, ["/observed"])
        assert episode.read_block(other, ["/observed"])


def test_of_one_that_is_being_written_there_is_what_it_began_with(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {"task": "t"})
    begin(recorder)
    (path,) = tmp_path.iterdir()
    seen = glance(path)
    assert (seen.finished, seen.about["run"], seen.outcome) == (False, {"task": "t"}, {})
    assert not list(tmp_path.glob("*.finishing"))
    recorder.ended(Outcome(True))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RecordingFailed, match="ends before it says what it is of"):
        glance(path)


def test_a_frame_as_jpeg(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8) + np.array([200, 40, 90], np.uint8)
    jpeg = encode_jpeg(decode_frame(encode_png(picture)))
    assert jpeg.startswith(b"\xff\xd8")
    assert np.abs(decode_image(jpeg).astype(int) - picture).max() < 6
    assert decode_image(encode_jpeg(decode_frame(encode_png(picture)), 30)).shape == (20, 30, 3)
