"""Which trials are played in which order, and how an interrupted evaluation goes on."""

from __future__ import annotations

import collections
import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from offboard_client.errors import BadParameter, ConfigurationError
from offboard_client.evaluation import Plan, Trial, TrialLog, compare_models, hidden_models, masked

PLAN = Plan(("first", "second", "third"), tuple(range(40)), seed=3, blind=True)


def test_every_model_has_every_start_and_none_comes_first_more_often():
    turns = PLAN.turns
    assert [turn.number for turn in turns] == list(range(1, 121))
    assert {(turn.model, turn.start) for turn in turns} == {(m, s) for m in PLAN.models for s in range(40)}
    # Interleaved: all models of a start before the next start.
    assert [turn.start for turn in turns] == [s for s in range(40) for _ in PLAN.models]
    first = collections.Counter(turn.model for turn in turns[::3])
    assert min(first[model] for model in PLAN.models) >= 7


def test_the_seed_decides_the_order_for_ever():
    """The figures themselves: an evaluation that another version of this began goes on in the same order."""
    turns = [turn.model[0] for turn in PLAN.turns]
    assert "".join(turns[:18]) == "fsttfssfttfssftstf"
    assert PLAN.labels == {"A": "first", "B": "third", "C": "second"}
    assert [turn.model[0] for turn in replace(PLAN, seed=4).turns] != turns


def test_labels_hide_the_models_until_the_end():
    assert sorted(PLAN.labels) == ["A", "B", "C"]
    assert all(PLAN.labels[turn.label] == turn.model for turn in PLAN.turns)
    assert replace(PLAN, blind=False).labels == {model: model for model in PLAN.models}
    many = Plan(tuple(str(i) for i in range(28)), (0,), blind=True)
    assert list(many.labels)[-3:] == ["Z", "AA", "AB"]
    # Drawn: over many seeds each model is A about as often.
    drawn = collections.Counter(replace(PLAN, seed=seed).labels["A"] for seed in range(300))
    assert min(drawn[model] for model in PLAN.models) > 70


def test_what_was_annulled_is_played_next_and_an_error_when_asked():
    plan = Plan(("a", "b"), (5, 6))
    turns = plan.turns
    played = [Trial(turn.model, turn.start, "success") for turn in turns[:3]]
    assert plan.left(played) == turns[3:]
    played[0] = replace(played[0], outcome="annulled")
    played[1] = replace(played[1], outcome="error")
    assert plan.left(played) == [turns[0], turns[3]]
    assert plan.left(played, again=True) == [turns[0], turns[1], turns[3]]


def test_names_are_hidden_in_texts_and_no_letters_of_other_words():
    mask = masked({"a": "B", "a/b<c>": "A"})
    assert mask("the camera of a/b<c>_2 failed: a; 'a'") == "the camera of A_2 failed: B; 'B'"
    assert masked({})("a") == "a"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"models": ()}, "a model at least"),
        ({"starts": (1, 2, 1)}, "each start is named once, not as 1"),
        ({"models": ("a", "a")}, "each model is named once"),
        ({"measure": "sucess"}, "did you mean success"),
        ({"level": 0.0}, "between 0 and 1"),
        ({"planned": 9}, "9 starts were planned"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(values, said):
    with pytest.raises(BadParameter, match=said):
        Plan(**{"models": ("a", "b"), "starts": (0, 1), **values})


def play(log, number):
    for turn in log.plan.left(log.trials)[:number]:
        won = turn.model == log.plan.models[0]
        log.append(Trial(turn.model, turn.start, "success" if won else "fail", tags=("slipped",), note="<b>"))


def test_it_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 7)
        log.annul(2, "the cup fell over before it began")
        before = log.trials
    with TrialLog(path, PLAN) as log:
        assert log.trials == before
        assert (log.trials[2].outcome, log.trials[2].note) == ("annulled", "the cup fell over before it began; <b>")
        assert log.plan.left(log.trials)[0] == PLAN.turns[2]
        play(log, 1)
        assert [each.start for each in log.trials if each.outcome == "annulled"] == [0]
        assert log.plan.left(log.trials) == PLAN.turns[7:]
        play(log, 1000)
    with TrialLog(path, PLAN) as log:
        assert log.plan.left(log.trials) == []
        assert len(log.trials) == 121
        said = compare_models(log.trials, PLAN.models, PLAN.planned, starts=PLAN.starts)
        assert [each.better for each in said] == ["first", "first", None]


@pytest.mark.parametrize("lost", [1, 20])
def test_half_a_line_of_a_killed_process_is_dropped(tmp_path, lost):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 5)
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    with TrialLog(path, PLAN) as log:
        assert log.dropped
        assert len(log.trials) == 4
        play(log, 1)
    assert path.read_bytes() == whole
    with TrialLog(path, PLAN) as log:
        assert not log.dropped


def test_a_log_of_which_only_half_its_first_line_is_there_begins_anew(tmp_path):
    path = tmp_path / "trials.jsonl"
    TrialLog(path, PLAN).close()
    whole = path.read_bytes()
    for length in (0, 5, 40):
        path.write_bytes(whole[:length])
        TrialLog(path, PLAN).close()
        assert path.read_bytes() == whole


def test_more_starts_may_follow_and_the_level_is_not_spent_anew(tmp_path):
    path = tmp_path / "trials.jsonl"
    short = replace(PLAN, starts=PLAN.starts[:10], planned=10)
    with TrialLog(path, short) as log:
        play(log, 30)
    with TrialLog(path, PLAN) as log:
        assert (log.plan.starts, log.plan.planned) == (PLAN.starts, 10)
        assert log.plan.turns[:30] == short.turns
        assert len(log.plan.left(log.trials)) == 90
    # Who asks for fewer again goes on with what is there.
    with TrialLog(path, short) as log:
        assert (log.plan.starts, log.plan.planned) == (PLAN.starts, 10)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"models": ("first", "second", "other")}, "models: "),
        ({"starts": tuple(range(1, 41))}, "starts: "),
        ({"seed": 4}, "seed: 3, now 4"),
        ({"blind": False}, "blind: True, now False"),
        ({"measure": "score"}, "measure: 'success', now 'score'"),
        ({"level": 0.1}, r"level: 0\.05, now 0\.1"),
    ],
)
def test_another_plan_does_not_go_on(tmp_path, changed, said):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 1)
    before = path.read_bytes()
    with pytest.raises(BadParameter, match=said):
        TrialLog(path, replace(PLAN, **changed))
    assert path.read_bytes() == before


def test_a_log_without_a_trial_is_begun_anew(tmp_path):
    """A mistyped name is found before the first trial, and the corrected command must not be refused for it."""
    path = tmp_path / "trials.jsonl"
    TrialLog(path, replace(PLAN, models=("first", "secnod"))).close()
    for plan in (PLAN, replace(PLAN, starts=(7,), planned=0, blind=False)):
        TrialLog(path, plan).close()
        with TrialLog(path, plan) as log:
            assert log.plan == plan
        assert len(path.read_text().splitlines()) == 1


def test_what_was_annulled_afterwards_keeps_what_it_was_and_its_first_reason(tmp_path):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 3)
        log.annul(1, "the camera was blocked")
        with pytest.raises(BadParameter, match="was annulled already: the camera was blocked"):
            log.annul(1, "again")
        log.reveal()
        log.annul(2, "it looked bad")
        play(log, 1)
        before = log.trials
    with path.open("a") as file:  # an earlier version wrote a second one
        file.write('{"annul": 1, "reason": "again"}\n')
    with TrialLog(path, PLAN) as log:
        assert log.trials == before
        assert log.revealed == 3
        log.reveal()
    assert path.read_text().count("revealed") == 1
    kinds = {PLAN.models[0]: "success"}
    assert [(each.outcome, each.was) for each in before[1:3]] == [
        ("annulled", kinds.get(each.model, "fail")) for each in before[1:3]
    ]
    assert before[1].note == "the camera was blocked; <b>"
    assert before[2].note == "it looked bad (annulled when the models' names were known); <b>"


def test_models_are_hidden_until_somebody_was_told_which_is_which(tmp_path):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 3)
        assert hidden_models(path) == {model: label for label, model in PLAN.labels.items()}
        log.reveal()
        assert hidden_models(path) == {}
    with TrialLog(tmp_path / "open.jsonl", replace(PLAN, blind=False)) as log:
        log.reveal()
        assert hidden_models(log.path) == {}
        assert log.revealed is None
    with TrialLog(tmp_path / "old.jsonl", PLAN) as log:
        play(log, 120)
        assert hidden_models(log.path) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{}", "this is no trial"),
        ("[]", "this is no trial"),
        ("not json", "line 3: Expecting value"),
        ('{"trial": {"model": "first", "start": 0, "outcome": "won"}}', "there is no outcome 'won'"),
        ('{"trial": {"model": "first", "start": "0", "outcome": "fail"}}', "start is no whole number"),
        ('{"trial": {"model": "first", "start": 0, "outcome": "fail", "seconds": NaN}}', "finite"),
        ('{"trial": {"model": "first", "start": 0, "outcome": "fail", "stages_ms": {"a": 1}}}', "this is no trial"),
        ('{"annul": 7, "reason": "x"}', "this is no trial"),
        ('{"revealed": 7}', "this is no trial"),
        ('{"trial": {"model": "first", "start": 0, "outcome": "annulled", "was": "won"}}', "there is no outcome 'won'"),
        ('{"plan": {}}', "this is no plan"),
        ("[" * 100_000, "line 3"),
        ("x" * ((1 << 20) + 1), "line 3: it is longer than 1048576 bytes"),
    ],
    ids=range(13),
)
def test_a_log_that_was_written_into_is_left_alone(tmp_path, line, said):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 1)
    path.write_text(path.read_text() + line + "\n")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=said):
        TrialLog(path, PLAN)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"offboard_evaluation": 2}\n', "\0\n", '{"a'])
def test_another_file_is_left_alone(tmp_path, text):
    path = tmp_path / "trials.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"no log of an evaluation|Expecting value"):
        TrialLog(path, PLAN)
    assert path.read_text() == text


def test_where_it_cannot_be_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        TrialLog(tmp_path / "none" / "trials.jsonl", PLAN)


def test_two_runs_into_one_log_are_refused(tmp_path):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN), pytest.raises(ConfigurationError, match="another process writes this evaluation"):
        TrialLog(path, PLAN)
    TrialLog(path, PLAN).close()


def test_what_is_of_no_plan_is_not_written(tmp_path):
    with TrialLog(tmp_path / "trials.jsonl", PLAN) as log:
        play(log, 1)
        before = log.path.read_bytes()
        for wrong in (
            Trial("fourth", 0, "fail"),
            Trial("first", 40, "fail"),
            Trial("first", 0, "fail", note="x" * 2**20),
        ):
            with pytest.raises(BadParameter):
                log.append(wrong)
        for index, reason in ((1, "x"), (-1, "x"), (0, " ")):
            with pytest.raises(BadParameter):
                log.annul(index, reason)
        assert log.path.read_bytes() == before
        assert len(log.trials) == 1


def test_a_full_disk_leaves_no_half_a_line(tmp_path, monkeypatch):
    with TrialLog(tmp_path / "trials.jsonl", PLAN) as log:
        play(log, 1)
        before = log.path.read_bytes()

        def full(fd):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                play(log, 1)
        assert log.path.read_bytes() == before
        assert len(log.trials) == 1
        play(log, 1)
    with TrialLog(log.path, PLAN) as again:
        assert len(again.trials) == 2


KILLED = """
import os, sys
from pathlib import Path
from offboard_client.evaluation import Plan, Trial, TrialLog
log = TrialLog(Path(sys.argv[1]), Plan(("a", "b"), (0, 1, 2)))
for turn in log.plan.turns[:3]:
    log.append(Trial(turn.model, turn.start, "success"))
os.kill(os.getpid(), 9)
"""


def test_what_was_played_is_there_when_the_process_is_killed(tmp_path):
    path = tmp_path / "trials.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=600, check=False)
    assert done.returncode == -9
    with TrialLog(path, Plan(("a", "b"), (0, 1, 2))) as log:
        assert len(log.trials) == 3


def test_a_line_that_a_newer_version_wrote_more_into_is_read(tmp_path):
    path = tmp_path / "trials.jsonl"
    with TrialLog(path, PLAN) as log:
        play(log, 1)
        [one] = log.trials
    head, line = path.read_text().splitlines()
    values = json.loads(line)
    values["trial"]["later"] = 1
    path.write_text(f"{head}\n{json.dumps(values)}\n")
    with TrialLog(path, PLAN) as log:
        assert log.trials == [one]
