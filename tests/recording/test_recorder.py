"""What a recording holds of an episode, read again."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from filmed import CLOCK, WALL, FilmedRobot, answer, begin, observation, picture, play, record, sample, shadow, tick
from mcap.reader import SeekingReader
from offboard_client.errors import RecordingFailed
from offboard_client.play import Bounded, Frame, Outcome, Sample
from offboard_client.recording import (
    Episode,
    Recorder,
    VideoDecoder,
    check_intact,
    decode_image,
    finish,
    read_observation,
    read_questions,
    read_rows,
    read_shadow,
    stamp,
    starts,
)
from offboard_client.robots import Channel, RobotSpec
from robot_fakes import FakeRobot, FakeSession, rows
from waits import PATIENCE


def at(seconds: float) -> int:
    return round(WALL * 1e9) + round(seconds * 1e9)


def test_an_episode_says_what_it_is_and_what_became_of_it(tmp_path: Path) -> None:
    with Episode(record(tmp_path / "new", command="offboard run sim here")) as episode:
        about, outcome = episode.about, episode.outcome
        assert (about["number"], about["seed"], about["control_period"], about["action_period"]) == (1, 7, 0.05, 0.1)
        assert about["meta"] == {"model_id": "m", "action_fps": 10.0}
        assert about["run"] == {"command": "offboard run sim here"}
        assert (outcome["success"], outcome["scores"], outcome["steps"], outcome["exchanges"]) == (
            True, {"reward": 1.5}, 12, 3,
        )  # fmt: skip
        assert (outcome["frames"], outcome["missed"], outcome["rungs"]) == (12, 0, {"playing": pytest.approx(0.6)})
        assert (episode.start, episode.end) == (at(0), at(11 * 0.05 + 0.001))
    assert episode.path.name == "20270115-080000-0001.mcap"


def test_what_was_asked_and_answered_is_there_to_the_bit(tmp_path: Path) -> None:
    with Episode(record(tmp_path)) as episode:
        found = list(episode.messages(["/answer"]))
        stills = {said.at: decode_image(said.message.data) for said in episode.messages(["/sent/wrist"])}
    assert [said.at for said in found] == [at(number * 0.05 + 0.02) for number in (0, 4, 8)]
    for said, number in zip(found, (0, 4, 8), strict=True):
        sent = said.message.timestamp.seconds * 10**9 + said.message.timestamp.nanos
        seen = {**read_observation(said.message), "image.wrist": stills[sent]}
        expected = observation(number)
        assert seen.keys() == expected.keys()
        for name, value in expected.items():
            assert np.array_equal(seen[name], value), name
            assert getattr(seen[name], "dtype", None) == getattr(value, "dtype", None), name
        first, second = read_rows(said.message)
        assert first["action"]["target_pose"][2] == 0.3 + number / 1000
        assert (first["timestamp"], second["timestamp"]) == (0.0, 0.1)


def test_every_frame_is_in_the_video_at_its_time(tmp_path: Path) -> None:
    decoder = VideoDecoder()
    with Episode(record(tmp_path, periods=40)) as episode:
        frames = [(said.at, said.message.data) for said in episode.messages(["/video/wrist"])]
    assert [moment for moment, _ in frames] == [at(number * 0.05) for number in range(40)]
    assert [number for number, (_, data) in enumerate(frames) if starts(data)] == [0, 30]
    for number, (_, data) in enumerate(frames):
        (shown,) = decoder.decode(data)
        assert shown.shape == (48, 64, 3)
        apart = [np.abs(shown.astype(int) - picture(other)).mean() for other in (number, number + 1)]
        assert apart[0] < apart[1]


def test_values_are_under_their_names_with_their_types(tmp_path: Path) -> None:
    with Episode(record(tmp_path)) as episode:
        assert episode.topics["/observation/robot_state/q"] == "robot_state.q"
        joints = list(episode.messages(["/observation/robot_state/q"]))
        assert [said.message.values[0] for said in joints] == [float(np.float32(n / 7)) for n in range(12)]
        (pose, *_) = episode.messages(["/pose/robot_state/ee_pose"])
        assert (pose.message.pose.position.z, pose.message.pose.orientation.w) == (0.3, 0.5)
        assert [said.message.text for said in episode.messages(["/observation/task"])] == ["stack"]
        played = list(episode.messages(["/played"]))
        assert [said.message.rung for said in played] == ["playing"] * 12
        assert [said.message.row for said in played[:5]] == [0, 0, 1, 1, 0]
        chunk = next(episode.messages(["/chunk/target_pose"])).message
        assert (list(chunk.offsets), chunk.width, len(chunk.values)) == ([0.0, 0.1], 7, 14)


def test_a_part_is_read_by_its_times(tmp_path: Path) -> None:
    with Episode(record(tmp_path, periods=100)) as episode:
        part = [said.at for said in episode.messages(["/observed"], at(2), at(3))]
    assert part == [at(number * 0.05) for number in range(40, 60)]


def test_who_plots_an_hour_of_joints_reads_no_picture(tmp_path: Path) -> None:
    """A chunk is read whole, so each holds what is read together: numbers, a video, or pictures that were sent."""
    path = record(tmp_path)
    with path.open("rb") as file:
        summary = SeekingReader(file).get_summary()
    assert summary is not None
    topics = {number: channel.topic.split("/")[1] for number, channel in summary.channels.items()}
    kinds = [{topics[number] for number in chunk.message_index_offsets} for chunk in summary.chunk_indexes]
    assert {"video"} in kinds
    assert {"sent"} in kinds
    assert not [kind for kind in kinds if len(kind) > 1 and kind & {"video", "sent"}]


def test_a_failure_a_takeover_and_a_rate_of_the_cameras_own(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    seen = sample(recorder, 0, asked=True)
    answer(recorder, seen, 0.0, None, failure=("infer_timeout", "no answer came"))
    # The camera has nothing new: it gives out what it gave out before.
    recorder.sampled(Sample({**observation(1), "image.wrist": seen["image.wrist"]}, CLOCK + 0.05, 0.05, 2.0))
    recorder.sampled(Sample(observation(2), CLOCK + 0.1, 0.1, 2.0, {"image.wrist": CLOCK + 0.08}))
    tick(recorder, 3, {"target_joints": np.zeros(7)}, rung="led")
    recorder.ended(Outcome(None, ("infer_timeout", "no answer came"), stopped=True))
    with Episode(recorder.recorded.files[0]) as episode:
        assert [said.at for said in episode.messages(["/video/wrist"])] == [at(0), at(0.08)]
        assert [said.message.failure for said in episode.messages(["/answer"])] == ["infer_timeout"]
        assert [said.message.rung for said in episode.messages(["/played"])] == ["led"]
        assert (episode.outcome["failure"], episode.outcome["stopped"]) == (["infer_timeout", "no answer came"], True)


def test_what_a_shadow_answered_stands_beside_what_was_played(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    seen = sample(recorder, 0, asked=True)
    answer(recorder, seen, 0.0, rows(0.0, 0.1))
    shadow(recorder, seen, 0.0, rows(0.0, 0.2))
    answer(recorder, seen, 0.2, rows(0.0))
    shadow(recorder, seen, 0.2, None, failure=("policy_failed", "out of memory"))
    recorder.ended(Outcome(True))
    begin(recorder, 2)
    recorder._episode = dataclasses.replace(recorder._episode, at=CLOCK + 1)
    shadow(recorder, seen, 0.5, rows(0.0))  # of the episode before: it came too late
    recorder.ended(Outcome(True))
    first, second = recorder.recorded.files
    with Episode(first) as episode:
        assert episode.shadow == {"server": "there:8000", "meta": {"model_id": "s"}}
        asked = list(read_questions(episode))
        assert [len(each.rows or ()) for each in asked] == [2, 1]
        done, failed = read_shadow(episode)
        assert [done.asked, failed.asked] == [each.at for each in asked]
        assert (done.at, done.round_trip_ms, done.failure) == (at(0.07), 40.0, None)
        assert [row["timestamp"] for row in done.rows or ()] == [0.0, 0.2]
        assert (failed.rows, failed.failure) == (None, ("policy_failed", "out of memory"))
        (policys, _), (shadows,) = (
            list(episode.messages([f"{kind}/target_pose"])) for kind in ("/chunk", "/shadow/chunk")
        )
        # Row by row where the policy's lie, however late it came.
        assert stamp(shadows.message) == policys.at == at(0.02)
        assert (shadows.at, list(shadows.message.offsets)) == (at(0.07), [0.0, 0.2])
    with Episode(second) as episode:
        assert (episode.shadow, list(read_shadow(episode))) == ({}, [])


def test_what_nobody_wants_is_not_written(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {}, video=False, sent=False)
    begin(recorder)
    sample(recorder, 0, asked=True)
    recorder.ended(Outcome(True))
    with Episode(recorder.recorded.files[0]) as episode:
        assert not [topic for topic in episode.topics if topic.startswith(("/video", "/sent"))]
    begin(recorder, 2)
    recorder.ended(Outcome(True, kept=False))
    assert len(list(tmp_path.iterdir())) == len(recorder.recorded.files) == 1


def test_two_runs_record_into_one_folder(tmp_path: Path) -> None:
    first, second = record(tmp_path), record(tmp_path)
    assert first != second
    for path in (first, second):
        with Episode(path) as episode:
            assert episode.outcome["success"] is True


def test_a_driver_lets_it_see_what_lies_between_the_inferences(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {}, sample_hz=25.0)
    session = FakeSession(rows(*(step / 50 for step in range(10))), rows(0.0, 0.02), [], fps=50.0)
    robot = play(session, recorder)
    with Episode(recorder.recorded.files[0]) as episode:
        observed = list(episode.messages(["/observed"]))
        # Of 0.24 s in control periods of 20 ms, at 25 Hz: every second one; and what was asked, three times.
        assert [round(said.message.seconds, 3) for said in observed] == [0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24]
        assert [said.message.sent for said in observed].count(True) == 3
        assert robot.seen == len(observed) == len(list(episode.messages(["/video/wrist"])))
    # A run that nobody watches so closely observes where the policy asks, and nowhere else.
    session = FakeSession(rows(*(step / 50 for step in range(10))), rows(0.0, 0.02), [], fps=50.0)
    assert play(session).seen == len(session.observations) == 3


def test_what_a_sample_holds_is_not_written_to_afterwards(tmp_path: Path) -> None:
    """An observer looks at it on a thread of its own, while the driver goes on."""

    class Keeping(Recorder):
        samples: ClassVar[list[Sample]] = []

        def sampled(self, sample: Sample, /) -> None:
            self.samples.append(sample)

    session = FakeSession(rows(0.0, 0.1), [])
    play(session, Keeping(tmp_path, {}))
    assert "task" in session.observations[0]
    assert Keeping.samples
    assert not [sample for sample in Keeping.samples if "task" in sample.observation]


def test_a_robot_that_takes_long_to_observe_is_not_made_late(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(FilmedRobot):
        realtime = True
        now = 0.0

        def observe(self) -> dict[str, Any]:
            self.now += 0.015
            return super().observe()

        def state(self) -> dict[str, Any]:
            return FilmedRobot.observe(self)

        def apply(self, action: Any, seconds: float) -> None:
            super().apply(action, seconds)
            self.now += seconds

    robot, recorder = Slow(), Recorder(tmp_path, {})
    with caplog.at_level(logging.WARNING):
        play(FakeSession(rows(0.0, 0.1), rows(0.1), []), recorder, robot=robot, clock=lambda: robot.now)
    with Episode(recorder.recorded.files[0]) as episode:
        observed = list(episode.messages(["/observed"]))
    assert observed
    assert all(said.message.sent for said in observed)
    assert "takes 15 ms of a control period of 20 ms" in caplog.text


class LiveRobot(FilmedRobot):
    """One whose camera takes pictures by itself: whoever looks finds another one."""

    realtime = True
    spec = RobotSpec(
        measures={"image.wrist": Channel(shape=(48, 64, 3), dtype="uint8", rate=200.0)},
        plays={"target_pose": Channel(shape=(7,))},
        control_period=0.02,
    )

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[float] = []
        self.live_cameras = self

    def frames(self) -> dict[str, Any]:
        if not self.looked or self.looked[-1] < time.monotonic():
            self.looked.append(time.monotonic())
        return {"image.wrist": (picture(len(self.looked)), self.looked[-1])}

    def state(self) -> dict[str, Any]:
        return FakeRobot.observe(self)

    def apply(self, action: Any, seconds: float) -> None:
        super().apply(action, seconds)
        time.sleep(seconds)


def test_every_picture_of_a_live_camera_is_in_the_video(tmp_path: Path) -> None:
    robot, recorder = LiveRobot(), Recorder(tmp_path, {}, sample_hz=10.0)
    play(FakeSession(rows(0.0, 0.1), rows(0.1), []), recorder, robot=robot)
    with Episode(recorder.recorded.files[0]) as episode:
        frames = [said.at for said in episode.messages(["/video/wrist"])]
        observed = list(episode.messages(["/observed"]))
        stills = list(episode.messages(["/sent/wrist"]))
        begins, wall = episode.about["wall_time"] * 1e9, episode.outcome["frames"]
    assert len(frames) == wall > len(observed)
    assert frames == sorted(set(frames))
    # None is left out but the first, which may have been taken before anything was played; and none is observe's.
    taken = [at - robot.looked[-1] for at in robot.looked]
    written = [(at - frames[-1]) / 1e9 for at in frames]
    assert written == pytest.approx(taken[-len(written) :], abs=1e-4)
    assert len(taken) - len(written) <= 1
    assert len(stills) == len([said for said in observed if said.message.sent]) > 0
    assert min(frames) >= begins


def test_what_a_camera_tells_meanwhile_gets_nowhere_in_between(tmp_path: Path, monkeypatch: Any) -> None:
    """It does so on another thread than the arm's: what is new to a file would be of another's kind."""
    recorder, both = Recorder(tmp_path, {}), threading.Barrier(2)
    begin(recorder)
    file: Any = type(recorder._file)
    write, inside, most = file.write, [0], [0]

    def slowly(self: Any, *what: Any, **fields: Any) -> None:
        inside[0] += 1
        most.append(inside[0])
        time.sleep(0.02)
        write(self, *what, **fields)
        inside[0] -= 1

    monkeypatch.setattr(file, "write", slowly)

    def film() -> None:
        both.wait(PATIENCE)
        recorder.filmed(Frame("image.wrist", picture(1), CLOCK + 1))

    thread = threading.Thread(target=film)
    thread.start()
    both.wait(PATIENCE)
    recorder.sampled(Sample({"robot_state.q": np.zeros(3)}, CLOCK + 1, 1.0, 2.0))
    thread.join(PATIENCE)
    recorder.ended(Outcome(True))
    assert max(most) == 1
    with Episode(recorder.recorded.files[0]) as episode:
        assert len(list(episode.messages(["/video/wrist"]))) == 1


def test_the_arm_waits_for_no_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Hangs(LiveRobot):
        """Its camera does, until the last command was played."""

        def __init__(self) -> None:
            super().__init__()
            self.played_all = threading.Event()

        def frames(self) -> dict[str, Any]:
            assert self.played_all.wait(PATIENCE)
            raise OSError("unplugged")

        def apply(self, action: Any, seconds: float) -> None:
            super().apply(action, seconds)
            if len(self.played) >= 3:
                self.played_all.set()

    robot, recorder = Hangs(), Recorder(tmp_path, {})
    with caplog.at_level(logging.WARNING):
        play(FakeSession(rows(0.0, 0.1, 0.2), rows(0.0), []), recorder, robot=robot)
    assert robot.played_all.is_set()
    assert "unplugged" in caplog.text
    with Episode(recorder.recorded.files[0]) as episode:
        assert episode.outcome["success"] is True
        assert not list(episode.messages(["/video/wrist"]))


def test_nobody_looks_at_cameras_that_nobody_records(tmp_path: Path) -> None:
    robot = LiveRobot()
    play(FakeSession(rows(0.0, 0.1), []), robot=robot)
    assert robot.looked == []


def test_what_waits_for_the_disk_is_bounded_in_bytes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    bounded = Bounded(recorder, 1000, "the recording", most=5 * picture(0).nbytes)
    recorder.loss = bounded.loss
    go, sampled = __import__("threading").Event(), recorder.sampled

    def slow(sample_: Sample) -> None:
        assert go.wait(60)
        sampled(sample_)

    recorder.sampled = slow  # type: ignore[method-assign]
    begin(bounded)  # type: ignore[arg-type]
    for number in range(20):
        sample(bounded, number)  # type: ignore[arg-type]
    go.set()
    bounded.ended(Outcome(True))
    bounded.close(60)
    assert 14 <= bounded.loss.dropped < 20
    with Episode(recorder.recorded.files[0]) as episode:
        assert episode.outcome["missed"] == bounded.loss.dropped
        assert len(list(episode.messages(["/observed"]))) == 20 - bounded.loss.dropped


@pytest.mark.parametrize(
    ("fails", "failure"),
    [
        (lambda number: True, "killed"),  # which is all that is known of it
        (lambda number: number < 1, "recording_failed"),
        (lambda number: number == 1, "recording_failed"),  # the block is there, and not its lists of messages
        (lambda number: number == 3, "recording_failed"),
    ],
)
def test_a_disk_that_is_full_ends_the_recording_and_not_the_episode(
    fails: Callable[[int], bool], failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[RecordingFailed] = []
    recorder = Recorder(tmp_path, {}, failing=failures.append)
    begin(recorder)
    sample(recorder, 0)
    recorder._file._flushed = -1e9  # type: ignore[union-attr]  # the next message closes what was written so far
    sample(recorder, 1)
    stream, write = recorder._file._stream, recorder._file._stream._file.write  # type: ignore[union-attr]

    class Full:
        def __init__(self, file: Any) -> None:
            self.file, self.writes, self.fails = file, 0, False

        def write(self, data: Any) -> int:
            if not self.fails:  # else it is the rest of what did not fit
                self.writes, self.fails = self.writes + 1, fails(self.writes)
                if not self.fails:
                    return write(data)
                if len(data) > 7:
                    return write(data[:7])
            self.fails = False
            raise OSError(28, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    monkeypatch.setattr(stream, "_file", Full(stream._file))
    for number in range(2, 60):
        recorder._file and setattr(recorder._file, "_flushed", -1e9)
        sample(recorder, number)
        tick(recorder, number, {"target_joints": np.zeros(7)})
    recorder.ended(Outcome(True))
    assert [error.text for error in failures] == [recorder.recorded.failure]
    assert "No space left on device" in failures[0].text
    with Episode(recorder.recorded.files[0]) as episode:  # what was written before can be read
        read = [said.at for said in episode.messages(["/observed"])]
        assert read[0] == at(0)
        assert (episode.outcome["failure"][0], episode.outcome["success"]) == (failure, None)
        outcome = dict(episode.outcome)
    assert finish(recorder.recorded.files[0], quiet=0.0)
    check_intact(recorder.recorded.files[0])
    with Episode(recorder.recorded.files[0]) as episode:
        assert [said.at for said in episode.messages(["/observed"])] == read
        assert episode.outcome == outcome
    begin(recorder, 2)  # the next episode is recorded
    recorder.ended(Outcome(True))
    assert len(recorder.recorded.files) == 2


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingFailed, match="no folder for recordings can be made at"):
        Recorder(tmp_path / "file" / "in", {})
