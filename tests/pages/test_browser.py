"""The page of recordings in a browser: listed, played by its keys, scored by two at once. Needs Chromium."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, browser
from filmed import record
from offboard_client.evaluation import Plan, Trial, TrialLog, log_of, read_review
from offboard_client.pages import PageServer, Replay, pages_app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]

NASTY = "<img src=x onerror=\"document.title='pwned'\"> & <b>bold</b>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A folder of recordings and its page; an evaluation's, where a test writes its log beside it."""
    folder = tmp_path / "recordings"
    record(folder, 60, task=NASTY)
    record(folder, 20, task="sort", trial=12, start=5)
    replay = Replay(folder)
    with PageServer(pages_app(replay)) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server.url, folder
        server.stop()
        thread.join()
    replay.close()


def opened(chromium: Browser, url: str, task: str, **size: Any) -> Any:
    """A tab that shows the episode of this task."""
    tab = chromium.tab(**size)
    tab.go(url)
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    tab.eval(f"[...document.querySelectorAll('tbody a')].find((a) => a.textContent === {task!r}).click()")
    tab.until("document.querySelector('canvas[data-camera]').dataset.t !== undefined")
    return tab


NOW = "Number(document.querySelector('input[type=range]').value)"


def at(tab: Any, seconds: float) -> None:
    """Wait until the player is at this time."""
    tab.until(f"Math.abs({NOW} - {seconds}) < 0.01")


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
def test_both_pages_fit_and_nothing_complains(
    chromium: Browser, served: tuple[str, Path], width: int, height: int, dark: bool
) -> None:
    tab = opened(chromium, served[0], "sort", width=width, height=height, dark=dark)
    tab.until("document.querySelectorAll('.plot canvas').length >= 3")
    assert tab.eval("document.documentElement.scrollWidth") <= width
    ground = tab.eval("getComputedStyle(document.documentElement).backgroundColor")
    assert (ground == "rgb(247, 247, 245)") is not dark
    tab.press("Escape")
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    tab.until("[...document.querySelectorAll('.thumb img')].every((img) => img.complete && img.naturalWidth === 64)")
    assert tab.eval("document.documentElement.scrollWidth") <= width
    assert tab.said == []


def test_the_list_is_filtered_and_sorted(chromium: Browser, served: tuple[str, Path]) -> None:
    tab = chromium.tab()
    tab.go(served[0])
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    lengths = "[...document.querySelectorAll('td.length')].map((td) => td.textContent).join()"
    tab.click("th[data-column=seconds] button")
    assert tab.eval(lengths) == "0:01,0:03"
    tab.click("th[data-column=seconds] button")
    assert tab.eval(lengths) == "0:03,0:01"
    assert tab.eval("document.querySelector('th[data-column=seconds]').ariaSort") == "descending"
    tab.type("input[type=search]", "sort")
    assert tab.eval(lengths) == "0:01"
    tab.type("input[type=search]", "nothing")
    assert tab.eval("document.querySelectorAll('tbody tr').length") == 0


def test_the_list_tells_episodes_apart_and_is_filtered_by_what_became_of_them(
    chromium: Browser, served: tuple[str, Path]
) -> None:
    url, folder = served
    (folder / "notes.mcap").write_bytes(b"no recording")
    tab = chromium.tab()
    tab.go(url)
    tab.until("document.querySelectorAll('tbody tr').length === 3")
    outcomes = "[...document.querySelectorAll('[data-filter=outcome] option')].map((o) => o.textContent).join()"
    assert tab.eval(outcomes) == "all outcomes,cannot be read,success"
    tab.size(390, 844)  # the names of files are not there
    rows = tab.eval("document.querySelector('tbody').innerText")
    assert "trial 12, start 5" in rows
    wall = "new Date(1.8e12).toLocaleTimeString(undefined, { timeStyle: 'medium' })"
    assert tab.eval(wall) in rows
    tab.type("input[type=search]", "trial 12")
    assert tab.eval("document.querySelectorAll('tbody tr').length") == 1
    assert tab.said == []


def test_it_is_played_by_the_keys_of_a_video_player(chromium: Browser, served: tuple[str, Path]) -> None:
    tab = opened(chromium, served[0], "sort")
    frame = "Number(document.querySelector('canvas[data-camera]').dataset.t)"
    tab.press("End")
    at(tab, 1)
    tab.until(f"{frame} === 0.95")
    tab.press("Home")
    tab.until(f"{frame} === 0")
    for number in (1, 2, 3):
        tab.press(".")
        tab.until(f"Math.abs({frame} - {number * 0.05}) < 0.002")
    tab.press(",")
    tab.until(f"Math.abs({frame} - 0.1) < 0.002")
    tab.press("ArrowLeft")
    at(tab, 0)
    tab.press("<")
    assert tab.eval("document.querySelector('select[aria-label=speed]').value") == "0.5"
    tab.press(">")
    tab.press(" ")
    tab.until(f"{frame} > 0.2")
    tab.until("document.querySelector('.play').getAttribute('aria-label') === 'play'")  # it has come to its end
    at(tab, 1)
    assert tab.said == []


def test_pictures_fit_the_time(chromium: Browser, served: tuple[str, Path]) -> None:
    """The camera's every picture is another colour; a pixel says which one it is."""
    tab = opened(chromium, served[0], "sort")
    pixel = "[...document.querySelector('canvas').getContext('2d').getImageData(1, 1, 1, 1).data].slice(0, 3)"
    for number in range(1, 11):
        tab.press(".")
        tab.until(f"Math.abs(Number(document.querySelector('canvas').dataset.t) - {number * 0.05}) < 0.002")
        assert tab.eval(pixel) == pytest.approx([3 + number, 5 + number, 2 + 7 * number], abs=24)


def test_what_two_say_at_once_is_not_lost(chromium: Browser, served: tuple[str, Path]) -> None:
    url, folder = served
    first, second = opened(chromium, url, "sort"), opened(chromium, url, "sort")
    recording = folder / first.eval("document.querySelector('main > p.quiet').textContent").split(" · ")[-1]
    before = recording.read_bytes()
    first.press("3")
    first.until("document.querySelector('[data-outcome=fail]').ariaPressed === 'true'")
    first.type("textarea", f"one {NASTY}")
    first.until("document.querySelector('.review > p[role=status]').textContent === 'kept'")
    second.type("textarea", "two")
    second.until("!document.querySelector('.conflict').hidden")
    assert NASTY in second.eval("document.querySelector('.conflict').textContent")
    assert read_review(recording).note == f"one {NASTY}"
    second.eval(
        "[...document.querySelectorAll('.conflict button')].find((b) => b.textContent === 'keep both notes').click()"
    )
    second.until("document.querySelector('.conflict').hidden")
    said = read_review(recording)
    assert (said.note, said.outcome) == (f"one {NASTY}\ntwo", "fail")
    first.type("input[list=tags]", "dropped")
    first.press("Enter")
    first.until("document.querySelector('.chips').textContent.includes('dropped')")
    assert read_review(recording).tags == ("dropped",)
    assert recording.read_bytes() == before
    # The refusal itself is what the console tells of.
    assert [text for text in first.said + second.said if "409" not in text] == []


def test_markup_is_words_wherever_it_is_shown(chromium: Browser, served: tuple[str, Path]) -> None:
    tab = opened(chromium, served[0], NASTY)
    tab.type("textarea", NASTY)
    tab.until("document.querySelector('.review > p[role=status]').textContent === 'kept'")
    assert tab.eval("document.querySelector('h1').textContent") == NASTY
    tab.press("Escape")
    tab.eval("document.activeElement.blur()")
    tab.press("Escape")
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    assert tab.eval("document.querySelectorAll('main b, main td img[src=x]').length") == 0
    assert "pwned" not in tab.eval("document.title")
    assert tab.said == []


def test_what_came_of_a_trial_is_shown_until_somebody_says_otherwise(
    chromium: Browser, served: tuple[str, Path]
) -> None:
    url, folder = served
    said = ("partial", 0.75, ("slip",), f"it fell {NASTY}")
    with TrialLog(log_of(folder), Plan(("m",), (1,), seed=0)) as log:
        for path in folder.glob("*.mcap"):
            log.append(Trial("m", 1, *said, recording=path.name, items=3, items_total=4))
    tab = opened(chromium, url, "sort")
    judged = f"the trial was judged: partial 3/4 · #slip · it fell {NASTY}"
    assert tab.eval("document.querySelector('.review [data-trial]').textContent") == judged
    header = "document.querySelector('header .verdict')"
    assert tab.eval(f"{header}.textContent") == "partial 3/4"
    assert " · trial 12, start 5 · " in tab.eval("document.querySelector('main > p.quiet').textContent")
    tab.press("3")
    tab.until("document.querySelector('[data-outcome=fail]').ariaPressed === 'true'")
    tab.until(f"{header}.textContent === 'fail' && {header}.title === 'scored here'")
    tab.press("Escape")
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    verdicts = (
        "[...document.querySelectorAll('.outcome .verdict')].map((e) => `${e.title}: ${e.textContent}`).sort().join()"
    )
    tab.until(f"{verdicts} === 'as the trial was judged: partial 3/4,scored here: fail'")
    assert tab.eval("[...document.querySelectorAll('.outcome .tag')].map((e) => e.textContent).join()") == "slip,slip"
    assert tab.said == []


def test_a_clip_is_marked_kept_played_and_taken_away(chromium: Browser, served: tuple[str, Path]) -> None:
    url, folder = served
    tab = opened(chromium, url, NASTY)
    tab.press("ArrowRight")
    tab.press("i")
    tab.press("ArrowRight")
    tab.press("o")
    tab.type("input[aria-label='label of the clip']", "it slips")
    tab.eval("document.activeElement.blur()")
    tab.press("c")
    link = tab.until("document.querySelector('.clips li a').href")
    with urllib.request.urlopen(link, timeout=120) as answer:
        assert answer.read().find(b"ftyp") == 4
    tab.click(".clips li button")
    at(tab, 2)
    (clip,) = next(each.clips for path in folder.glob("*.mcap") if (each := read_review(path)).clips)
    assert (clip.seconds, clip.label) == ((1.0, 2.0), "it slips")
    tab.click(".clips li button[aria-label]")
    tab.until("document.querySelectorAll('.clips li').length === 0")
    assert tab.said == []


def test_an_episode_that_has_gone_is_said(chromium: Browser, served: tuple[str, Path]) -> None:
    url, folder = served
    tab = chromium.tab()
    tab.go(url)
    tab.until("document.querySelectorAll('tbody tr').length === 2")
    # Whoever asks for a picture of it is told first, and then nobody knows it any more.
    tab.until("[...document.querySelectorAll('.thumb img')].every((img) => img.complete && img.naturalWidth === 64)")
    for path in folder.glob("*.mcap"):
        path.unlink()
    tab.click("tbody a")
    tab.until("document.getElementById('error').textContent.includes('is gone')")
