from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from offboard_client.drivers import RunLength
from offboard_client.errors import (
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    InvalidAction,
    PolicyFailed,
    RobotFailed,
)
from offboard_client.play import Episode, Report
from robot_fakes import POSE, FakeRobot, FakeSession, driver, rows


def seconds(robot: FakeRobot) -> list[float]:
    return [round(seconds, 6) for _, seconds in robot.played]


@pytest.mark.rule("R-11", "R-12", "R-13")
def test_a_row_is_played_from_its_timestamp_for_one_period_and_then_the_robot_holds() -> None:
    robot = FakeRobot()
    playing = driver(FakeSession(rows(0.1, 0.2, 0.5), []), robot)
    playing.run(RunLength(1, 15.0))
    assert seconds(robot) == [0.1, 0.1, 0.1, 0.2, 0.1]
    assert [bool(action) for action, _ in robot.played] == [False, True, True, False, True]
    assert playing.report.steps == 3


def test_a_row_ends_when_the_next_one_is_due() -> None:
    robot = FakeRobot()
    driver(FakeSession(rows(0.0, 0.04, 0.08), []), robot).run(RunLength(1, 15.0))
    assert seconds(robot) == [0.04, 0.04, 0.1]


def test_a_chunk_is_played_to_its_end_before_the_next_one_is_asked_for() -> None:
    session = FakeSession(rows(0.0, 0.1), rows(0.0), [])
    playing = driver(session, FakeRobot())
    playing.run(RunLength(1, 15.0))
    assert len(session.observations) == 3
    episode = playing.report.episodes[0]
    assert (episode.steps, episode.exchanges) == (3, 3)
    assert episode.seconds == pytest.approx(0.3)


def test_an_episode_ends_when_its_time_is_over_and_begins_no_row_that_would_outlast_it() -> None:
    robot = FakeRobot()
    driver(FakeSession(rows(0.0, 0.1, 0.2)), robot).run(RunLength(1, 0.25))
    assert seconds(robot) == [0.1, 0.1, 0.04]
    assert [bool(action) for action, _ in robot.played] == [True, True, False]


@pytest.mark.rule("R-2")
def test_null_holds_for_one_period_and_no_rows_stop() -> None:
    robot = FakeRobot()
    playing = driver(FakeSession(None, None, []), robot)
    playing.run(RunLength(1, 15.0))
    assert robot.played == [({}, 0.1), ({}, 0.1)]
    assert playing.report.steps == 0
    assert playing.report.successes == 1


def test_each_episode_starts_afresh_with_a_seed_of_its_own() -> None:
    session, robot = FakeSession([]), FakeRobot()
    playing = driver(session, robot)
    playing.run(RunLength(3, 15.0), seed=7)
    assert robot.seeds == [7, 8, 9]
    assert session.resets == 2
    assert playing.report.successes == 3


def test_a_robot_that_cannot_tell_counts_neither_way() -> None:
    playing = driver(FakeSession([]), FakeRobot(outcome=None))
    playing.run(RunLength(1, 15.0))
    assert playing.report.successes == 0
    assert playing.report.episodes[0].success is None
    assert not playing.report.failures


@pytest.mark.parametrize("fps", [None, 0, -1.0, float("nan"), "15"])
def test_without_a_rate_nothing_is_played(fps: object) -> None:
    with pytest.raises(ConfigurationError, match="--fps"):
        driver(FakeSession([], fps=fps), FakeRobot())  # pyright: ignore[reportArgumentType]


def test_a_policy_whose_actions_the_robot_does_not_know_is_refused_before_it_is_asked() -> None:
    session = FakeSession([], action=("pose_delta", "target_grip"))
    with pytest.raises(ConfigurationError, match="answers pose_delta; this robot plays joint_delta, target_grip"):
        driver(session, FakeRobot())
    assert not session.observations


def test_an_error_of_the_server_fails_the_episode_and_sends_the_robot_nothing_more() -> None:
    robot = FakeRobot()
    playing = driver(FakeSession(rows(0.0), PolicyFailed("it raised"), []), robot)
    playing.run(RunLength(2, 15.0))
    assert seconds(robot) == [0.1]
    assert playing.report.episodes[0].failure == ("policy_failed", "it raised")
    assert [episode.success for episode in playing.report.episodes] == [False, True]
    assert playing.report.failures == {"policy_failed": 1}


def test_a_lost_connection_fails_its_episode_and_the_next_one_is_tried() -> None:
    playing = driver(FakeSession(rows(0.0), ConnectionLost("gone"), []), FakeRobot())
    playing.run(RunLength(2, 15.0))
    assert playing.report.failures == {"connection_lost": 1}
    assert playing.report.successes == 1


def test_a_server_that_cannot_be_reached_any_more_ends_the_run() -> None:
    class GoneSession(FakeSession):
        def reset(self) -> None:
            raise ConnectionFailed("nobody listens there")

    playing = driver(GoneSession([]), FakeRobot())
    with pytest.raises(ConnectionFailed):
        playing.run(RunLength(5, 15.0))
    assert [episode.success for episode in playing.report.episodes] == [True, False]
    assert playing.report.failures == {"connection": 1}


def test_an_interrupted_run_still_has_its_report() -> None:
    class Interrupted(FakeRobot):
        def apply(self, action, seconds) -> None:
            if len(self.played) == 2:
                raise KeyboardInterrupt
            super().apply(action, seconds)

    playing = driver(FakeSession(rows(0.0, 0.1)), Interrupted())
    with pytest.raises(KeyboardInterrupt):
        playing.run(RunLength(5, 15.0))
    assert playing.report.steps == 2
    assert playing.report.episodes[0].success is None


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param([{"action": np.zeros(8), "timestamp": 0.0}], id="the model's own vector"),
        pytest.param([{"timestamp": 0.0}], id="no action"),
        pytest.param([{"action": {"target_pose": POSE}}], id="no timestamp"),
        pytest.param(rows(0.1, 0.1), id="timestamps that stand still"),
        pytest.param(rows(0.2, 0.1), id="timestamps that run backwards"),
        pytest.param(rows(-0.1), id="a negative timestamp"),
        pytest.param(rows(0.0, float("nan")), id="a timestamp that is no number"),
        pytest.param(rows(0.0, target_pose=[*POSE[:3], *np.roll(POSE[3:], -1)]), id="another quaternion order"),
        pytest.param(
            [*rows(0.0, 0.1), *rows(0.2, target_pose=POSE + np.array([0.5, 0, 0, 0, 0, 0, 0]))], id="a late jump"
        ),
    ],
)
def test_a_chunk_with_anything_wrong_in_it_is_refused_before_its_first_row(chunk: object) -> None:
    robot = FakeRobot()
    playing = driver(FakeSession(chunk), robot)
    playing.run(RunLength(1, 15.0))
    assert robot.played == []
    assert playing.report.failures == {"invalid_action": 1}


def test_a_deadline_is_missed_when_an_exchange_outlasts_one_action() -> None:
    class SlowSession(FakeSession):
        def infer(self, observation: object) -> object:
            wall[0] += next(delays)
            return super().infer(observation)  # pyright: ignore[reportArgumentType]

    wall, delays = [0.0], itertools.chain([0.05, 0.15, 0.0999], itertools.repeat(0.0))
    playing = driver(SlowSession(rows(0.0), rows(0.0), rows(0.0), []), FakeRobot(), clock=lambda: wall[0])
    playing.run(RunLength(1, 15.0))
    assert playing.report.deadline_ms == pytest.approx(100)
    assert playing.report.missed_deadlines == 1
    assert playing.report.as_dict()["round_trip_ms"]["p50"] == pytest.approx((50 + 99.9) / 2)
    assert playing.report.wall_s["infer"] == pytest.approx(0.2999)


def test_the_report_is_json_with_the_fields_that_scripts_read() -> None:
    playing = driver(FakeSession(rows(0.0, 0.1), PolicyFailed("no")), FakeRobot())
    playing.run(RunLength(1, 15.0))
    found = json.loads(json.dumps(playing.report.as_dict(), allow_nan=False))
    assert found["episodes"] == 1
    assert found["successes"] == 0
    assert found["steps"] == 2
    assert found["failures"] == {"policy_failed": 1}
    assert found["server_ms"] == {"infer": {"p50": 2.0, "p95": 2.0, "p99": 2.0}}
    assert set(found["round_trip_ms"]) == {"p50", "p95", "p99"}


def test_what_the_task_says_is_sent_with_each_observation() -> None:
    session, robot = FakeSession(rows(0.0), []), FakeRobot()
    driver(session, robot).run(RunLength(1, 15.0))
    assert [seen["task"] for seen in session.observations] == ["hold still"] * 2
    robot.instruction = None
    driver(session, robot).run(RunLength(1, 15.0))
    assert "task" not in session.observations[-1]


@pytest.mark.parametrize("call", ["reset", "observe", "apply", "succeeded"])
@pytest.mark.parametrize("error", [OSError("no such port"), SystemExit(3)])
def test_a_robot_that_raises_ends_the_run_with_its_call_and_is_told_to_stop(call: str, error: BaseException) -> None:
    robot = FakeRobot(**{call: error})
    playing = driver(FakeSession(rows(0.0), []), robot)
    with pytest.raises(RobotFailed, match=f"^the robot failed in {call}: {type(error).__name__}"):
        playing.run(RunLength(3, 15.0))
    assert robot.calls[-2:] == [call, "stop"]
    assert playing.report.failures == {"robot_failed": 1}


@pytest.mark.parametrize(
    ("method", "value", "says"),
    [
        *(
            ("succeeded", value, "what the task says of success is .*; expected true")
            for value in ("False", np.nan, [True])
        ),
        *(("over", value, "what the task says of being over is .*; expected true") for value in ("no", np.nan, None)),
        *(
            ("scores", {"score": value}, "the task's score score is .*; expected a finite")
            for value in (np.inf, "1", None)
        ),
    ],
)
def test_what_a_task_says_is_taken_as_nothing_else(method: str, value: Any, says: str) -> None:
    """A text is no number and NaN no success: Python takes both for one, and JSON has no NaN."""
    robot = FakeRobot()
    setattr(robot, method, lambda: value)
    playing = driver(FakeSession(rows(0.0), []), robot)
    with pytest.raises(RobotFailed, match=says):
        playing.run(RunLength(1, 0.1))
    assert playing.report.failures == {"robot_failed": 1}


def test_what_a_task_says_may_be_numpys() -> None:
    robot: Any = FakeRobot(np.True_)
    robot.over, robot.scores = lambda: np.False_, lambda: {"score": np.float32(0.5)}
    playing = driver(FakeSession(rows(0.0), []), robot)
    playing.run(RunLength(1, 0.1))
    (episode,) = playing.report.episodes
    assert episode.success is True
    assert (episode.scores, type(episode.scores["score"])) == ({"score": 0.5}, float)


def test_a_mean_of_scores_is_as_finite_as_they_are() -> None:
    report = Report(episodes=[Episode(0, scores={"x": 1.5e308}), Episode(1, scores={"x": 1.7e308})])
    assert report.scores == {"x": pytest.approx(1.6e308)}


def test_a_robot_that_refuses_an_action_fails_its_episode_only() -> None:
    robot = FakeRobot(apply=InvalidAction("out of reach"))
    playing = driver(FakeSession(rows(0.0)), robot)
    playing.run(RunLength(2, 15.0))
    assert playing.report.failures == {"invalid_action": 2}
    assert robot.calls == ["reset", "observe", "apply", "stop"] * 2


def test_a_robot_that_does_not_stop_ends_the_run_and_what_was_before_is_said() -> None:
    playing = driver(FakeSession(PolicyFailed("it raised")), FakeRobot(stop=OSError("unplugged")))
    says = "the robot failed in stop: OSError: unplugged; before that: PolicyFailed: it raised"
    with pytest.raises(RobotFailed, match=f"^{says}$"):
        playing.run(RunLength(2, 15.0))
    assert playing.report.episodes[0].failure == ("robot_failed", says)


def test_an_interrupted_robot_is_told_to_stop() -> None:
    robot = FakeRobot(apply=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        driver(FakeSession(rows(0.0)), robot).run(RunLength(1, 15.0))
    assert robot.calls[-1] == "stop"


@pytest.mark.parametrize("length", [(0, 15.0), (1, 0.0), (1, -1.0), (1, float("nan")), (1, float("inf"))])
def test_a_run_of_no_time_is_refused(length: tuple[int, float]) -> None:
    with pytest.raises(ConfigurationError):
        RunLength(*length)
