"""A trial of what a run has measured."""

from __future__ import annotations

import pytest
from offboard_client.errors import BadParameter
from offboard_client.evaluation import measured_trial
from offboard_client.play import Answer, Command, EpisodeInfo, Outcome, Report, Tick


def ran(outcome, answers=3):
    report = Report()
    report.started(EpisodeInfo(1, 7, 30.0, 0.1, 0.1, {}, 0.0, 0.0))
    for i in range(answers):
        timing = {"server.infer_ms": 10.0 * (i + 1), "network_ms": 1.0}
        report.answered(Answer({}, [], float(i), 1.0, 20.0 * (i + 1), timing))
        command = Command({"joints": [0.0]}, seconds=0.5)
        report.ticked(Tick(command, "playing" if i else "hold", float(i), 0.5 * i, {}, 0.1))
    report.ended(outcome)
    return report


def test_its_times_and_what_came_of_it():
    trial = measured_trial(ran(Outcome(success=True)), "a", 7, at=5.0, recording="x.mcap")
    assert (trial.model, trial.start, trial.outcome, trial.at, trial.recording) == ("a", 7, "success", 5.0, "x.mcap")
    assert (trial.seconds, trial.steps) == (1.5, 3)
    assert trial.stages_ms == {
        "round_trip": (40.0, pytest.approx(59.6)),
        "infer": (20.0, pytest.approx(29.8)),
    }
    assert trial.rungs_s == {"hold": 0.5, "playing": 1.0}
    assert measured_trial(ran(Outcome(success=False)), "a", 7).outcome == "fail"


def test_what_a_person_says_counts_more():
    trial = measured_trial(
        ran(Outcome(success=True)), "a", 7, outcome="partial", score=0.5, tags=("late",), note="2 of 4"
    )
    assert (trial.outcome, trial.score, trial.tags, trial.note) == ("partial", 0.5, ("late",), "2 of 4")
    assert trial.seconds == 1.5


@pytest.mark.parametrize(
    ("code", "answers", "outcome", "tags"),
    [
        ("connection_lost", 3, "error", ()),
        ("robot_failed", 3, "error", ()),
        ("policy_failed", 3, "fail", ("policy_failed",)),
        ("invalid_action", 1, "fail", ("invalid_action",)),
        # Nothing had been answered yet: the arm could not even be brought where it starts, or the model does not run.
        ("invalid_action", 0, "error", ()),
        ("policy_failed", 0, "error", ()),
    ],
)
def test_an_error_is_the_models_only_where_it_is(code, answers, outcome, tags):
    trial = measured_trial(ran(Outcome(failure=(code, "why")), answers), "a", 7)
    assert (trial.outcome, trial.tags, trial.note) == (outcome, tags, f"{code}: why")


def test_what_nobody_can_tell_is_asked_for():
    with pytest.raises(BadParameter, match="say what came of it"):
        measured_trial(ran(Outcome()), "a", 7)
    assert measured_trial(ran(Outcome()), "a", 7, outcome="stall").outcome == "stall"
    with pytest.raises(BadParameter, match="this run had 0 episodes"):
        measured_trial(Report(), "a", 7)
