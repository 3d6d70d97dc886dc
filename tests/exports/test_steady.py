"""Frames at a steady rate: what was known last then, never what came later, and nothing that nobody meant."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmed import CLOCK, WALL, begin, observation, picture, record, sample, tick
from offboard_client.errors import RecordingFailed
from offboard_client.evaluation import Clip, Review
from offboard_client.exports import (
    Attempt,
    SteadyFrame,
    SteadyFrames,
    SteadyOptions,
    by_robots_clock,
    difference,
    layout_of,
    recorded_rate,
)
from offboard_client.play import Command, Outcome, Sample, Tick
from offboard_client.recording import Episode, Recorder

_POSE = np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0])


def action(number: float) -> dict[str, Any]:
    return {"target_pose": _POSE + number * np.eye(7)[0], "target_grip": np.array([number / 10])}


def frames_of(
    path: Path, fps: int | None = None, clip: Clip | None = None, **options: Any
) -> tuple[list[SteadyFrame], Any]:
    named = {"state": ("robot_state.ee_pose", "robot_state.q", "grip")} | options
    with Episode(path) as episode:
        layout = layout_of(episode, SteadyOptions(**named))
        attempt = Attempt(path, Review(), clip=clip)
        found = SteadyFrames(episode, attempt, layout, fps or recorded_rate(episode, layout), options.get("task"))
        return list(found), found


def recorded(folder: Path, periods: int = 20, more: Any = None, **facts: Any) -> Path:
    """Observed and commanded at each of these control periods, 20 Hz; ``more(recorder, number)`` instead, where it
    does something itself."""
    recorder = Recorder(folder, facts)
    begin(recorder)
    for number in range(periods):
        if more is None or not more(recorder, number):
            sample(recorder, number)
            tick(recorder, number, action(number))
    recorder.ended(Outcome(True))
    return recorder.recorded.files[0]


def numbers_of(frames: list[SteadyFrame]) -> tuple[list[int], list[int]]:
    """Which observation, and whose command, each frame holds."""
    return [round(frame.state[2] * 1000 - 300) for frame in frames], [round(frame.action[1] - 0.1) for frame in frames]


def test_every_observation_is_in_one_frame_with_its_command(tmp_path: Path) -> None:
    frames, found = frames_of(recorded(tmp_path))
    assert numbers_of(frames) == ([*range(20)], [*range(20)])
    assert found.left_out == 0
    assert [frame.seconds for frame in frames] == pytest.approx([0.025 + 0.05 * n for n in range(20)])
    assert [frame.at for frame in frames] == [round(WALL * 1e9) + 50_000_000 * n for n in range(20)]
    assert not any(frame.led for frame in frames)
    assert {frame.task for frame in frames} == {"stack"}
    for number, frame in enumerate(frames):
        assert frame.cameras["image.wrist"].shape == (48, 64, 3)
        assert np.abs(frame.cameras["image.wrist"].astype(int) - picture(number)).mean() < 12
        assert np.array_equal(frame.state[7:14], np.full(7, np.float32(number / 7)).astype(np.float64))


def test_nothing_is_known_before_it_came(tmp_path: Path) -> None:
    """A frame at a higher rate repeats what was known; of what came a hair later it holds nothing."""
    frames, _ = frames_of(recorded(tmp_path), fps=60)
    observed, commanded = numbers_of(frames)
    assert observed == commanded == [int(frame.seconds / 0.05 + 1e-9) for frame in frames]
    assert len(frames) == 60


def test_the_robots_clock_counts_and_not_how_long_was_thought(tmp_path: Path) -> None:
    """As in a simulation: a second of the wall's goes by at every fourth observation, none of the robot's."""
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    for number in range(12):
        thought = number // 4 + 1.0
        at = CLOCK + number * 0.05 + thought
        seconds = number * 0.05
        taken = {"grip": at - (number % 4 == 0) - 0.02}  # by a sensor that is read before the others
        recorder.sampled(Sample(observation(number), at - (number % 4 == 0), seconds, 2.0, taken, False))
        recorder.ticked(Tick(Command(action(number), 0.05, 0), "playing", at + 0.001, seconds, {}, 49.0))
    recorder.ended(Outcome(True))
    path = recorder.recorded.files[0]
    frames, _ = frames_of(path)
    assert numbers_of(frames) == ([*range(12)], [*range(12)])
    with Episode(path) as episode:
        placed = [seconds for seconds, said in by_robots_clock(episode, ["/observation/grip"]) if "grip" in said.topic]
    assert placed == pytest.approx([0.0, *(0.05 * number - 0.02 for number in range(1, 12))], abs=1e-3)


def test_commands_of_uneven_length_are_each_in_one_frame(tmp_path: Path) -> None:
    """As an arm with a control period of 10 ms plays actions of 15 Hz."""
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    at = [round(number / 15, 2) for number in range(31)]
    for number, (now, then) in enumerate(itertools.pairwise(at)):
        recorder.sampled(Sample(observation(number), CLOCK + now, now, 2.0, {}, False))
        recorder.ticked(Tick(Command(action(number), then - now, 0), "playing", CLOCK + now + 0.001, now, {}, 1.0))
    recorder.ended(Outcome(True))
    frames, _ = frames_of(recorder.recorded.files[0])
    assert numbers_of(frames) == ([*range(30)], [*range(30)])


def test_a_hold_is_left_out_and_a_persons_lead_is_said(tmp_path: Path) -> None:
    def more(recorder: Recorder, number: int) -> bool:
        if number in (5, 6, 7):
            sample(recorder, number)
            tick(recorder, number, {}, rung="hold")
        elif number == 12:
            sample(recorder, number)
            tick(recorder, number, action(number), rung="safe_action")
        elif number in (10, 11):
            sample(recorder, number)
            tick(recorder, number, action(number), rung="led")
        elif number == 15:  # a pause that the policy wants
            sample(recorder, number)
            tick(recorder, number, {})
        return number in (5, 6, 7, 10, 11, 12, 15)

    frames, found = frames_of(recorded(tmp_path, more=more))
    kept = [0, 1, 2, 3, 4, 8, 9, 10, 11, 13, 14, *range(16, 20)]
    assert numbers_of(frames) == (kept, kept)
    assert [round(frame.state[2] * 1000 - 300) for frame in frames if frame.led] == [10, 11]
    assert found.left_out == 5


def test_a_hole_is_no_frame(tmp_path: Path) -> None:
    def more(recorder: Recorder, number: int) -> bool:
        if 20 <= number < 34:
            tick(recorder, number, action(number))
        return 20 <= number < 34

    path = recorded(tmp_path, 40, more)
    with pytest.raises(RecordingFailed, match=r"has a hole: nothing was observed from 0\.95 s to 1\.48 s"):
        frames_of(path)
    before, _ = frames_of(path, clip=Clip("a", (0.0, 1.0), (round(WALL * 1e9), round((WALL + 1.0) * 1e9))))
    assert numbers_of(before)[0] == [*range(20)]


def test_a_camera_that_stands_is_a_hole(tmp_path: Path) -> None:
    still = picture(0)

    def more(recorder: Recorder, number: int) -> bool:
        if number >= 10:
            sample(recorder, number, **{"image.wrist": still})
            tick(recorder, number, action(number))
        return number >= 10

    with pytest.raises(RecordingFailed, match=r"has a hole: image\.wrist has no picture from 0\.50 s"):
        frames_of(recorded(tmp_path, 40, more))


def test_what_is_no_number_is_said(tmp_path: Path) -> None:
    def more(recorder: Recorder, number: int) -> bool:
        if number == 7:
            sample(recorder, number, **{"robot_state.q": np.array([0, 0, np.nan, 0, 0, 0, 0], np.float32)})
            tick(recorder, number, action(number))
        return number == 7

    with pytest.raises(RecordingFailed, match=r"robot_state\.q\.2 of .* is nan at 0\.375 s"):
        frames_of(recorded(tmp_path, more=more))


def test_commands_of_different_names_are_said(tmp_path: Path) -> None:
    def more(recorder: Recorder, number: int) -> bool:
        if number >= 4:
            sample(recorder, number)
            tick(recorder, number, {"target_joints": np.zeros(7), "target_grip": np.array([0.0])}, rung="led")
        return number >= 4

    path = recorded(tmp_path, more=more)
    with pytest.raises(RecordingFailed, match=r"was commanded .*target_grip.* and not target_joints; --action"):
        frames_of(path)
    frames, _ = frames_of(path, action=("target_grip",))
    assert [frame.led for frame in frames] == [False] * 4 + [True] * 16


def test_a_range_begins_and_ends_where_it_was_cut(tmp_path: Path) -> None:
    """Its pictures are those of its time, whatever came before."""
    path = recorded(tmp_path, 80)
    clip = Clip("c", (2.0, 3.0), (round((WALL + 2.0) * 1e9), round((WALL + 3.0) * 1e9)))
    frames, _ = frames_of(path, clip=clip)
    assert numbers_of(frames) == ([*range(40, 60)], [*range(40, 60)])
    for number, frame in zip(range(40, 60), frames, strict=True):
        assert np.abs(frame.cameras["image.wrist"].astype(int) - picture(number)).mean() < 12


def test_frames_that_were_sent_serve_where_there_is_no_video(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {}, video=False)
    begin(recorder)
    for number in range(12):
        sample(recorder, number, asked=number % 4 == 0)
        tick(recorder, number, action(number))
    recorder.ended(Outcome(True))
    frames, _ = frames_of(recorder.recorded.files[0])
    assert [frame.seconds for frame in frames] == pytest.approx([0.1, 0.3, 0.5])  # as often as there is a picture
    assert all(np.array_equal(f.cameras["image.wrist"], picture(4 * n)) for n, f in enumerate(frames))


def test_pictures_of_an_odd_size_are_as_they_were(tmp_path: Path) -> None:
    def more(recorder: Recorder, number: int) -> bool:
        sample(recorder, number, **{"image.wrist": picture(number, 47, 63)})
        tick(recorder, number, action(number))
        return True

    frames, _ = frames_of(recorded(tmp_path, more=more))
    assert {frame.cameras["image.wrist"].shape for frame in frames} == {(47, 63, 3)}


def test_names_are_chosen_in_the_order_that_is_said(tmp_path: Path) -> None:
    def more(recorder: Recorder, number: int) -> bool:
        sample(recorder, number, **{"sim.objects.red_cube": np.arange(7.0)})
        tick(recorder, number, action(number))
        return True

    robot = {"measures": {"robot_state.q": {"order": [f"joint{n}" for n in range(1, 8)], "unit": "rad"}}, "plays": {}}
    path = recorded(tmp_path, more=more, robot=robot)
    with Episode(path) as episode:
        usual = layout_of(episode, SteadyOptions())
        chosen = layout_of(episode, SteadyOptions(state=("grip", "robot_state.q"), no_cameras=True))
        # What the robot states first, the others by name.
        assert [each.name for each in usual.state] == ["robot_state.q", "grip", "robot_state.ee_pose"]
        assert usual.state[0].columns[0] == "robot_state.q.joint1"
        assert usual.state[0].unit == "rad"
        assert usual.state[1].columns == ("grip",)
        assert usual.state[2].columns[3] == "robot_state.ee_pose.qw"
        assert [each.name for each in chosen.state] == ["grip", "robot_state.q"]
        assert chosen.cameras == {}
        assert difference(usual, usual) is None
        assert "its state is grip, robot_state.q, and the data set's robot_state.q" in (difference(usual, chosen) or "")
        with pytest.raises(RecordingFailed, match=r"--state: .*robot_state\.p.* robot_state\.q"):
            layout_of(episode, SteadyOptions(state=("robot_state.p",)))
        with pytest.raises(RecordingFailed, match=r"image\.wirst.*image\.wrist"):
            layout_of(episode, SteadyOptions(cameras=("image.wirst",)))


def test_what_has_no_commands_has_no_frames(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    sample(recorder, 0)
    recorder.ended(Outcome(None))
    with pytest.raises(RecordingFailed, match="has no command: it says nothing of what the robot played"):
        frames_of(recorder.recorded.files[0])
    with Episode(record(tmp_path / "whole")) as episode:
        other = layout_of(episode, SteadyOptions())
    with Episode(recorded(tmp_path / "grip", more=_grip_of_two)) as episode:
        wider = layout_of(episode, SteadyOptions())
    assert "its grip is 2 (0, 1), and the data set's 1 (0)" in (difference(other, wider) or "")


def _grip_of_two(recorder: Recorder, number: int) -> bool:
    sample(recorder, number, grip=np.zeros(2))
    tick(recorder, number, action(number))
    return True
