"""What a report says, and that whatever was typed or sent stands in it as text."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from offboard_client.evaluation import (
    Plan,
    Trial,
    as_csv,
    as_html,
    as_json,
    as_markdown,
    fixed_interval,
    mean_interval,
    summarize,
)

PLAN = Plan(("old", "new"), tuple(range(100, 108)), blind=True)
STAGES = {"round_trip": (50.0, 90.0), "infer": (40.0, 60.0)}
WRITERS = (as_markdown, as_json, as_csv, as_html)


def some() -> list[Trial]:
    trials = [Trial("new", s, "success", seconds=10.0 + s - 100, steps=100, stages_ms=STAGES) for s in range(100, 107)]
    trials += [Trial("old", 100, "success", seconds=20.0, steps=200, stages_ms={"round_trip": (60.0, 300.0)})]
    trials += [Trial("old", s, "fail", seconds=40.0, tags=("slipped", "slipped")) for s in range(101, 104)]
    trials += [
        Trial("old", 104, "partial", score=0.25, tags=("slipped", "late"), rungs_s={"playing": 30.0, "hold": 10.0})
    ]
    trials += [Trial("old", 105, "annulled", note="a person came in"), Trial("old", 105, "unsafe", score=0.5)]
    return [*trials, Trial("old", 106, "error", note="ConnectionLost: gone")]


def test_the_numbers_of_a_model():
    report = summarize(some(), PLAN, title="Cups", facts={"robot": "sim"})
    old, new = report.models
    assert (new.model, new.trials, new.successes, new.rate) == ("new", 7, 7, 1.0)
    assert (old.model, old.trials, old.successes, old.rate) == ("old", 6, 1, pytest.approx(1 / 6))
    assert old.outcomes == {"success": 1, "fail": 3, "partial": 1, "annulled": 1, "unsafe": 1, "error": 1}
    assert old.interval == mean_interval([1, 0, 0, 0, 0, 0])
    assert old.fixed_interval == fixed_interval(1, 6)
    assert old.score == pytest.approx((1 + 0.25) / 6)  # what was unsafe is worth nothing
    assert old.score_interval == mean_interval([1, 0.25, 0, 0, 0, 0])
    assert old.tags == {"slipped": 4, "late": 1}  # in how many trials
    assert new.seconds_to_success == (10, 11, 12, 13, 14, 15, 16)
    assert (new.steps, old.steps) == ((100,) * 7, (200,))
    assert new.stages_ms == {"round_trip": (50, 90), "infer": (40, 60)}
    assert old.rungs_s == {"playing": 30, "hold": 10}
    assert report.left == 2  # the eighth start of both
    assert [(c.first, c.second, c.wins, c.losses, c.pairs) for c in report.comparisons] == [("old", "new", 0, 5, 6)]


def test_a_start_that_was_played_again_counts_once():
    report = summarize([Trial("a", 1, "fail", steps=5), Trial("a", 1, "success", steps=7), Trial("a", 1, "error")])
    [a] = report.models
    assert (a.trials, a.rate, a.steps, a.outcomes) == (1, 1.0, (7,), {"fail": 1, "success": 1, "error": 1})
    assert 'title="start 1: success"' in as_html(report)


def test_the_worst_round_trip_is_found():
    trials = [Trial("a", s, "fail", stages_ms={"round_trip": (10.0 + s, 900.0 if s == 1 else 50.0)}) for s in range(3)]
    assert summarize(trials).models[0].stages_ms == {"round_trip": (11.0, 900.0)}


def test_json_holds_everything_and_markdown_says_it():
    report = summarize(some(), PLAN, title="Cups", facts={"robot": "sim"})
    values = json.loads(as_json(report))
    assert values["title"] == "Cups"
    assert values["models"][0]["outcomes"]["fail"] == 3
    assert values["comparisons"][0]["words"] == report.comparisons[0].words()
    assert [Trial.from_dict(each) for each in values["trials"]] == list(report.trials)
    text = as_markdown(report)
    for said in (
        "15 trials of 2 models, 1 of them annulled, 1 ended by an error and not counted; 2 of the plan not played.",
        "| new | 7 of 7 | 100% | 52 to 100 % | 59 to 100 % | 1.00 | 0.52 to 1.00 |",
        "| slipped | 4 of 6 | 0 of 7 |",
        "| new | 13.0 s | 10.0 to 16.0 s | 100 | 100 to 100 |",
        "| round\\_trip | 60.0, 300.0 | 50.0, 90.0 |",
        "| hold | 10.0 s, 25% | - |",
        "a person came in",
        "| robot | sim |",
        report.comparisons[0].words(),
    ):
        assert said in text
    assert re.search(r"It was blind: A was (old|new), B was (old|new)\.\n", text)


def test_csv_has_a_line_for_each_trial():
    lines = list(csv.DictReader(io.StringIO(as_csv(summarize(some(), PLAN)))))
    assert [line["number"] for line in lines] == [str(i) for i in range(1, 16)]
    assert {key: lines[11][key] for key in ("model", "start", "outcome", "score", "tags", "hold_s")} == {
        "model": "old", "start": "104", "outcome": "partial", "score": "0.25", "tags": "slipped, late",
        "hold_s": "10.0",
    }  # fmt: skip
    assert (lines[0]["round_trip_p99_ms"], lines[0]["hold_s"], lines[0]["score"]) == ("90.0", "", "")


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_the_page_stands_alone():
    page = Page(text := as_html(summarize(some(), PLAN)))
    assert {tag for tag, _ in page.tags} == {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "span", "table", "thead", "tbody",
        "tr", "th", "td", "i", "ul", "li", "details", "summary", "svg", "line", "circle", "rect", "polyline",
    }  # fmt: skip
    assert not {name for _, attributes in page.tags for name in attributes} & {"src", "href", "style", "data", "action"}
    assert "default-src 'none'; style-src 'unsafe-inline'" in [attributes.get("content") for _, attributes in page.tags]
    assert not re.search(r"url\(|@import|https?:", text)
    # What each start came to: seven of eight for both, and two that were not played.
    squares = [attributes for tag, attributes in page.tags if tag == "i" and "title" in attributes]
    assert len(squares) == 16
    assert [each["title"] for each in squares if "class" not in each] == ["start 107: not played"] * 2
    assert "start 104: partial, score 0.25, slipped, late" in [each["title"] for each in squares]
    assert page.text.count("7 of 7: 52 to 100 %") == 1


ODD = "<script>alert(1)</script>\" onload=\"x\u202e\x1b[2J\n| a | `b` &amp; 'c'"


def test_what_was_typed_is_text():
    trials = [Trial(ODD, 1, "fail", tags=(ODD,), note=ODD, recording=ODD, stages_ms={ODD: (1, 2)}, rungs_s={ODD: 1.0})]
    plan = Plan((ODD, "b"), (1,))
    report = summarize([*trials, Trial("b", 1, "success")], plan, title=ODD, facts={ODD: ODD})
    page = Page(as_html(report))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    seen = "<script>alert(1)</script>\" onload=\"x\\u202e\\x1b[2J | a | `b` &amp; 'c'"
    assert page.text.count(seen) > 8
    text = as_markdown(report)
    assert "<" not in text
    assert not set(text) & {"\u202e", "\x1b"}
    assert all(line.count(" | ") == 5 for line in text.split("## Notes")[1].strip().splitlines())
    for write in (as_html, as_csv):
        assert not set(write(report)) & {"\u202e", "\x1b"}
    assert json.loads(as_json(report))["trials"][0]["note"] == ODD


def test_a_spreadsheet_takes_no_note_for_a_formula():
    trials = [
        Trial("@a", 1, "fail", note='=HYPERLINK("http://x")', tags=("+1", "-2")),
        Trial("b", 1, "fail", note="fine"),
    ]
    [line, other] = csv.DictReader(io.StringIO(as_csv(summarize(trials))))
    assert (line["model"], line["note"], line["tags"]) == ("'@a", '\'=HYPERLINK("http://x")', "'+1, -2")
    assert other["note"] == "fine"


def test_a_blind_evaluation_that_goes_on_names_no_model():
    plan = Plan(("secret-one", "secret-two"), (1, 2), blind=True)
    trials = [
        Trial(turn.model, turn.start, "success", recording=f"{turn.model}.mcap", note=f"{turn.model} raised")
        for turn in plan.turns[:3]
    ]
    report = summarize(trials, plan, reveal=False, ended="secret-one failed")
    assert [model.model for model in report.models] == ["A", "B"]
    for write in WRITERS:
        assert "secret" not in write(report)
        assert "secret" in write(summarize(trials, plan))
    label = {model: label for label, model in plan.labels.items()}
    assert [each.model for each in report.trials] == [label[each.model] for each in trials]


def test_trials_that_nobody_planned_have_no_verdict():
    report = summarize([Trial(m, s, "success" if m == "a" else "fail") for s in range(9) for m in "ab"])
    assert report.comparisons == ()
    assert report.left == 0
    assert summarize([Trial("old", 100, "annulled")], PLAN).left == 16
    assert [model.successes for model in report.models] == [9, 0]
    assert "is better than" not in as_markdown(report) + as_html(report)


@pytest.mark.parametrize("plan", [None, PLAN, Plan(("one",), (0,))], ids=["none", "two", "one"])
@pytest.mark.parametrize("measure", ["success", "score"])
def test_nothing_played_yet_is_a_report_too(plan, measure):
    if plan is not None:
        plan = Plan(plan.models, plan.starts, measure=measure)
    for write in WRITERS:
        assert write(summarize([], plan))


def test_verdicts_on_scores_are_drawn():
    plan = Plan(("a", "b"), tuple(range(12)), measure="score")
    trials = [Trial(m, s, "partial", score=0.9 if m == "a" else 0.2) for s in range(12) for m in "ab"]
    report = summarize(trials, plan)
    assert report.comparisons[0].better == "a"
    assert "a more: 12" in Page(as_html(report)).text


def test_the_lead_meets_what_decides_where_it_was_decided():
    plan = Plan(("a", "b"), tuple(range(9)))
    trials = [Trial(m, s, "success" if m == "a" or s in (1, 4) else "fail") for s in range(9) for m in "ab"]
    [said] = summarize(trials, plan).comparisons
    assert said.lead == (1, 1, 2, 3, 3, 4, 5, 6, 7)
    assert said.bound[:7] == (None,) * 7
    assert (said.better, said.after, said.bound[7]) == ("a", 8, 6)


@pytest.mark.parametrize("starts", [6, 4])
def test_what_decides_is_drawn_where_there_is_such_a_lead_and_not_named_where_there_is_none(starts):
    """Six wins of six decide: a line of one point is none, and five starts have no lead that would."""
    plan = Plan(("a", "b"), tuple(range(20)))
    trials = [Trial(m, s, "success" if m == "a" else "fail") for s in range(starts) for m in "ab"]
    page = Page(as_html(summarize(trials, plan)))
    drawn = [attributes["points"] or "" for _, attributes in page.tags if attributes.get("class") == "bound"]
    assert [len(points.split()) for points in drawn] == ([2, 2] if starts == 6 else [0, 0])
    assert ("dashed: what decides" in page.text) == (starts == 6)


def test_what_a_trial_was_before_it_was_annulled_stays_to_be_seen():
    trials = [Trial("a", 1, "annulled", was="success", note="the camera was blocked"), Trial("a", 1, "fail")]
    trials += [Trial("b", 1, "annulled", was="fail", note="it fell"), Trial("b", 1, "annulled", note="at once")]
    report = summarize(trials, Plan(("a", "b"), (1,)))
    text = as_markdown(report)
    assert "| 1 | a | 1 | annulled, was success |  | the camera was blocked |" in text
    assert "## Annulled afterwards, by what they were\n\n| model | success | fail |" in text
    assert "| a | 1 | 0 |\n| b | 0 | 1 |" in text
    assert "annulled, was success" in as_html(report)
    assert [line["was"] for line in csv.DictReader(io.StringIO(as_csv(report)))] == ["success", "", "fail", ""]
    assert [Trial.from_dict(each) for each in json.loads(as_json(report))["trials"]] == trials


def test_why_it_ended_and_from_where_on_it_was_not_blind_is_said():
    report = summarize(some(), PLAN, ended="every two models are told apart", revealed=13)
    for write in (as_markdown, as_html):
        assert "2 of the plan not played: every two models are told apart." in write(report)
        assert "From trial 14 on it was not, for that was known by then." in write(report)
        assert "it was not" not in write(summarize(some(), PLAN, revealed=15))
