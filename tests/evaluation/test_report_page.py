"""The page of a report in a browser, wide and on a phone. Needs Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, browser
from offboard_client.evaluation import Plan, Trial, as_html, summarize

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]

MODELS = ("smolvla/finetuned-12k", "act/50k")
NOTE = "the cup stood at the edge of the table and was pushed over it by the open gripper"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report with all of its parts, and the recording of one trial where it links it."""
    outcomes = ("success", "partial", "fail", "stall", "success", "unsafe")
    trials = [
        Trial(
            model, start, (outcome := outcomes[(start + 2 * number) % 6]),
            score=0.5 if outcome == "partial" else None, seconds=8.0 + start, steps=80 + start,
            tags=() if outcome == "success" else ("missed the grasp", "knocked it over")[: 1 + start % 2],
            note="" if outcome == "success" else NOTE, recording=f"20261127-0927{start:02d}-0001 & #1.mcap",
            stages_ms={"round_trip": (48.0, 97.0), "server.infer": (40.0, 61.0)},
            rungs_s={"playing": 7.0, "rest": 0.5, "hold": 0.5 + start}, items=start % 4, items_total=4,
        )
        for start in range(12)
        for number, model in enumerate(MODELS)
    ]  # fmt: skip
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / trials[0].recording).write_text("a recording")
    report = summarize(trials, Plan(MODELS, tuple(range(12))), title="Cup into the box", recordings="recordings")
    path = tmp_path / "report.html"
    path.write_text(as_html(report), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
def test_it_fits_and_nothing_complains(chromium: Browser, page: Path, width: int, height: int, dark: bool) -> None:
    tab = chromium.tab(width=width, height=height, dark=dark)
    tab.go(page.as_uri())
    tab.eval("document.querySelector('details').open = true")
    assert tab.eval("document.documentElement.scrollWidth") <= width
    # What is too wide is scrolled within its own part; nothing of the plots is cut off.
    assert tab.eval("[...document.querySelectorAll('.row, .verdict')].every((e) => e.scrollWidth <= e.clientWidth + 1)")
    heads = tab.eval("[...document.querySelectorAll('h2')].map((h) => h.textContent)")
    assert {"Verdicts", "Failure modes", "Items", "Trials"} <= set(heads)
    assert tab.eval("document.querySelectorAll('td a').length") == 24
    assert tab.said == []


def test_a_link_leads_to_the_recording(chromium: Browser, page: Path) -> None:
    tab = chromium.tab()
    tab.go(page.as_uri())
    link = tab.eval("document.querySelector('td a').href")
    (recording,) = (page.parent / "recordings").iterdir()
    assert link == recording.as_uri()
