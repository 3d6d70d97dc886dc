"""The page of a run in a browser: at two widths, by its keys and buttons, with two at once, and when it is lost. Needs
Chromium."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser, browser
from filmed import picture
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.evaluation import Judgement, Turn
from offboard_client.pages import Desk, Live, PageServer, Seen, Starts, TrialDesk, pages_app
from offboard_client.play import Bounded, Controls, Outcome, Quit, SafetyLimits
from page_operator import NASTY, Arm
from robot_fakes import POSE, FakeSession, rows
from waits import PATIENCE, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


class Filmed(Arm):
    """With a camera whose every picture is another, once it is ``uncovered``."""

    instruction = NASTY
    seen = 0
    uncovered = threading.Event()
    uncovered.set()

    def observe(self) -> dict[str, Any]:
        self.seen += 1
        still = np.array([0.25 + 1e-5 * (self.seen % 2)])  # as a gripper stands
        q = np.full(7, self.seen / 100)
        found = {**super().observe(), "image.wrist": picture(self.seen), "robot_state.q": q, "grip": still}
        return found if self.uncovered.is_set() else {name: found[name] for name in found if name != "image.wrist"}


class Driven:
    """A run of an arm, and its page."""

    def __init__(self, desk: Desk, seen: Seen, controls: Controls, starts: Starts | None = None) -> None:
        self.arm, self.desk, self.controls = Filmed(), desk, controls
        self.live = Live(desk, seen, {"task": NASTY}, None, starts)
        self.server = PageServer(pages_app(self.live))
        self._serving = threading.Thread(target=self.server.serve, daemon=True)
        self._serving.start()
        robot: Any = self.arm
        self._bounded = Bounded(seen, 256)
        session: Any = FakeSession(rows(*(0.1 * number for number in range(20)), target_pose=POSE))
        driver = TimedDriver(
            session, robot, robot, limits=SafetyLimits(), observers=[desk, self._bounded], controls=controls,
            attended=True,
        )  # fmt: skip
        self._driving = threading.Thread(target=driver.run, args=[RunLength(seconds=600.0)], daemon=True)
        desk.opened()
        self._driving.start()

    def lose(self) -> None:
        """The page's server goes; the arm does not notice."""
        self.server.stop()
        self._serving.join(PATIENCE)

    def close(self) -> None:
        self.controls.post(Quit())
        self._driving.join(PATIENCE)
        self.lose()
        self._bounded.close()
        self.live.close()
        assert not self._driving.is_alive()


@pytest.fixture
def driven() -> Iterator[Driven]:
    controls, seen = Controls(), Seen()
    found = Driven(Desk(controls), seen, controls)
    yield found
    found.close()


PHASE = "document.querySelector('.pill').textContent"


def opened(chromium: Browser, driven: Driven, **size: Any) -> Any:
    tab = chromium.tab(**size)
    tab.front()
    tab.go(driven.server.url)
    tab.until("document.querySelector('canvas[data-camera]').dataset.number > 0")
    return tab


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
def test_it_fits_its_targets_are_large_and_nothing_complains(
    chromium: Browser, driven: Driven, width: int, height: int, dark: bool
) -> None:
    tab = opened(chromium, driven, width=width, height=height, dark=dark)
    tab.until(f"{PHASE} === 'ready'")
    tab.click("[data-do=start]")
    tab.until(f"{PHASE} === 'playing'")
    tab.until("document.querySelectorAll('.plot canvas').length >= 2")
    assert tab.eval("document.documentElement.scrollWidth") <= width
    sizes = tab.eval("[...document.querySelectorAll('.big')].map((b) => [b.offsetWidth, b.offsetHeight])")
    sizes = [each for each in sizes if each[0]]
    assert len(sizes) >= 7
    assert all(wide >= 90 and high >= 56 for wide, high in sizes)
    bottom = tab.eval("document.querySelector('[data-do=hold]').getBoundingClientRect().bottom")
    assert bottom <= height, "it is held without scrolling"
    assert tab.eval("document.querySelector('h1').textContent") == NASTY
    assert tab.eval("document.querySelectorAll('main b b, main img[src=x]').length") == 0
    assert tab.said == []


#: Keeps what is written on the plots as ``[text, left, right, width of the canvas]``, and how high each curve is.
DRAWN = """(() => {
    const of = CanvasRenderingContext2D.prototype, write = of.fillText, begin = of.beginPath, stroke = of.stroke;
    window.written = [];
    window.high = {};
    of.fillText = function (text, x, y, most) {
        const width = Math.min(this.measureText(text).width, most || Infinity);
        const left = x - { right: width, center: width / 2 }[this.textAlign];
        window.written.push([text, left, left + width, this.canvas.clientWidth]);
        return write.apply(this, arguments);
    };
    of.beginPath = function () { this.ys = []; return begin.call(this); };
    for (const name of ["moveTo", "lineTo"]) {
        const act = of[name];
        of[name] = function (x, y) { (this.ys || []).push(y); return act.call(this, x, y); };
    }
    of.stroke = function () {
        if (this.ys.length > 20) {
            window.high[this.canvas.getAttribute("aria-label")] = Math.max(...this.ys) - Math.min(...this.ys);
        }
        return stroke.call(this);
    };
})()"""


@pytest.mark.parametrize("width", [1280, 390])
def test_plots_are_legible_and_what_stands_still_is_a_line(chromium: Browser, driven: Driven, width: int) -> None:
    tab = opened(chromium, driven, width=width, height=844)
    tab.until(f"{PHASE} === 'ready'")
    tab.press("s")
    tab.until(f"{PHASE} === 'playing'")
    tab.click(".plots details summary")
    tab.eval(DRAWN)
    tab.until("window.high['plot of grip'] !== undefined && window.high['plot of robot_state.q'] !== undefined")
    assert tab.eval("window.high['plot of robot_state.q']") > 60
    assert tab.eval("window.high['plot of grip']") < 3
    tab.until("window.written.some(([text]) => text === '0:10')")
    assert tab.eval("window.written.filter(([, left, right, wide]) => left < 0 || right > wide)") == []
    assert tab.said == []


def test_an_episode_is_driven_by_keys_and_a_space_never_presses_a_button(chromium: Browser, driven: Driven) -> None:
    tab = opened(chromium, driven)
    tab.until(f"{PHASE} === 'ready'")
    tab.eval("document.querySelector('[data-do=start]').focus()")
    tab.press(" ")
    tab.until(f"{PHASE}.startsWith('HELD')")
    assert driven.arm.played == []
    tab.press("g")
    tab.until(f"{PHASE} === 'ready'")
    tab.press("s")
    tab.until(f"{PHASE} === 'playing'")
    tab.press("Escape")
    tab.until(f"{PHASE}.startsWith('HELD')")
    assert driven.controls.hold
    played = len(driven.arm.played)
    tab.press("s")
    assert len(driven.arm.played) == played
    tab.until("!document.querySelector('[data-do=resume]').disabled")
    tab.press("g")
    until(lambda: len(driven.arm.played) > played, "it goes on")
    tab.type("textarea", f"{NASTY} s r 1")
    tab.press("r")
    tab.eval("document.activeElement.blur()")
    tab.press("4")
    tab.until(f"{PHASE} === 'over: stall'")
    until(lambda: driven.desk.said[1].note == f"{NASTY} s r 1r", "it is said, with the key that was pressed in it")
    tab.press("s")
    tab.until(f"{PHASE} === 'playing'")
    tab.press("r")
    tab.until("document.querySelector('[data-do=reset]').textContent.startsWith('press again')")
    tab.press("r")
    tab.until(f"{PHASE} === 'thrown away'")
    assert tab.said == []


def test_two_who_look_see_the_same_and_the_first_press_counts(chromium: Browser, driven: Driven) -> None:
    first = opened(chromium, driven)
    second = opened(chromium, driven)
    second.press("s")
    second.until(f"{PHASE} === 'playing'")
    first.front()
    first.until(f"{PHASE} === 'playing'")
    first.press(" ")
    second.front()
    second.until(f"{PHASE}.startsWith('HELD')")
    second.press("2")
    second.until(f"{PHASE}.includes('over: partial')")
    first.front()
    first.until(f"{PHASE}.includes('over: partial')")
    assert driven.desk.number == 1


def test_a_page_without_its_run_says_so_and_the_arm_goes_on(chromium: Browser, driven: Driven) -> None:
    tab = opened(chromium, driven)
    tab.until(f"{PHASE} === 'ready'")
    tab.press("s")
    until(lambda: len(driven.arm.played) > 3, "it moves")
    driven.lose()
    tab.until("document.getElementById('error').textContent.includes('the terminal')")
    played = len(driven.arm.played)
    until(lambda: len(driven.arm.played) > played + 3, "it goes on")
    tab.press(" ")
    tab.until("document.querySelector('.news').textContent.startsWith('NOT HELD')")


def test_enter_keeps_a_trial_whatever_was_clicked_before(chromium: Browser) -> None:
    controls, seen = Controls(), Seen()
    desk = TrialDesk(controls, seen=seen)
    desk.expect(Turn(1, 7, "m", "A"), [{"number": 1, "label": "A", "start": 7, "outcome": None}])
    driven = Driven(desk, seen, controls)
    judged = list[Judgement | None]()
    judging = threading.Thread(target=lambda: judged.append(desk.judge(Turn(1, 7, "m", "A"), None)), daemon=True)
    try:
        tab = opened(chromium, driven)
        tab.until(f"{PHASE} === 'ready'")
        tab.press("s")
        tab.until(f"{PHASE} === 'playing'")
        tab.click("[data-outcome=partial]")
        tab.until(f"{PHASE}.startsWith('over: partial')")
        judging.start()
        for what, count in (("items done", 1), ("items in all", 2)):
            for _ in range(count):
                tab.click(f"button[aria-label='one more: {what}']")
        tab.until("!document.querySelector('[data-do=submit]').disabled")
        tab.click("[data-outcome=fail]")
        tab.until(f"{PHASE}.startsWith('over: fail')")
        tab.click("button[aria-label='one more: items in all']")
        tab.press("Enter")
        judging.join(PATIENCE)
        assert judged == [Judgement("fail", 1 / 3, items=1, items_total=3)]
        assert tab.eval("[...document.querySelectorAll('.counts button')].every((b) => b.tabIndex === -1)")
        assert tab.said == []
    finally:
        driven.close()


def test_enter_right_after_a_count_keeps_it(chromium: Browser) -> None:
    """Before the page has heard that with this count nothing is missing any more."""
    controls, seen = Controls(), Seen()
    desk = TrialDesk(controls, seen=seen)
    desk.expect(Turn(1, 7, "m", "A"), [{"number": 1, "label": "A", "start": 7, "outcome": None}])
    driven = Driven(desk, seen, controls)
    judged = list[Judgement | None]()
    judging = threading.Thread(target=lambda: judged.append(desk.judge(Turn(1, 7, "m", "A"), None)), daemon=True)
    try:
        tab = opened(chromium, driven)
        tab.until(f"{PHASE} === 'ready'")
        tab.press("s")
        tab.until(f"{PHASE} === 'playing'")
        tab.click("[data-outcome=partial]")
        tab.until(f"{PHASE}.startsWith('over: partial')")
        judging.start()
        tab.until("!document.querySelector('.missing').hidden")
        tab.eval(
            "(() => { const ask = window.fetch; window.told = [];"
            " window.fetch = (path, more) => { window.told.push((more || {}).body || ''); return ask(path, more); };"
            " for (const what of ['items done', 'items in all', 'items in all'])"
            " document.querySelector(`button[aria-label='one more: ${what}']`).click();"
            " document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true })); })()"
        )
        judging.join(PATIENCE)
        assert judged == [Judgement("partial", 0.5, items=1, items_total=2)]
        kept = tab.eval("window.told.find((body) => body.includes('submit'))")
        assert json.loads(kept)["items"] == [1, 2], "the run holds the counts that were shown against its own"
        assert tab.said == []
    finally:
        driven.close()


def test_a_trial_that_nothing_answers_says_what_is_awaited_and_that_it_is_an_error(chromium: Browser) -> None:
    controls, seen = Controls(), Seen()
    desk = TrialDesk(controls, seen=seen)
    desk.expect(Turn(1, 7, "m", "A"), [{"number": 1, "label": "A", "start": 7, "outcome": None}])
    driven = Driven(desk, seen, controls)
    judging = threading.Thread(target=lambda: desk.judge(Turn(1, 7, "m", "A"), None), daemon=True)
    try:
        tab = opened(chromium, driven)
        tab.until(f"{PHASE} === 'ready'")
        tab.press("s")
        tab.until(f"{PHASE} === 'playing'")
        until(lambda: seen.seconds > 0.5, "it is played")
        seen.limit = 0.55  # as if that were its time
        tab.until(f"{PHASE} === 'its time is over: the last answer is awaited'")
        tab.click("[data-outcome=stall]")
        tab.until(f"{PHASE} === 'over: stall'")
        desk.ended(Outcome(stopped=True, unanswered=("timeout", "an answer is awaited")))
        judging.start()
        said = tab.until(
            "!document.querySelector('[data-do=submit]').disabled && document.querySelector('.missing').textContent"
        )
        assert said.startswith("nothing answered any more when it was ended (timeout: an answer is awaited): whatever")
        assert tab.eval("document.querySelector('.missing').hidden") is False
        tab.press("Enter")
        judging.join(PATIENCE)
        assert not judging.is_alive()
        assert tab.said == []
    finally:
        driven.close()


def test_a_start_picture_lies_over_the_camera_until_it_is_confirmed(chromium: Browser, tmp_path: Path) -> None:
    controls, seen, starts = Controls(), Seen(), Starts(tmp_path)
    desk = TrialDesk(controls, starts=starts, seen=seen)
    desk.expect(Turn(1, 7, "m", "A"), [{"number": 1, "label": "A", "start": 7, "outcome": None}])
    starts.keep(7, {"wrist": picture(3)})
    until(lambda: starts.of(7)["cameras"], "it is kept")
    driven = Driven(desk, seen, controls, starts)
    try:
        tab = opened(chromium, driven)
        tab.until("document.querySelector('img.reference').naturalWidth === 64")
        assert tab.eval("document.querySelector('img.reference').hidden") is False
        assert tab.eval("document.querySelector('.news').hidden") is True
        tab.press("s")
        assert tab.eval("document.querySelector('[data-do=start]').disabled") is True
        said = tab.until("document.querySelector('.news').textContent")
        assert said == "nothing begins yet: set the scene up, and tick “the scene is as in the start picture”"
        assert tab.eval("[document.title, document.querySelector('h1').textContent].join()") == (
            f"ready – offboard evaluate,{NASTY}"
        )
        tab.press("o")
        assert tab.eval("document.querySelector('img.reference').hidden") is True
        tab.click(".scene input[type=checkbox]")
        tab.until("!document.querySelector('[data-do=start]').disabled")
        tab.press("s")
        tab.until(f"{PHASE} === 'playing'")
        tab.until("document.querySelector('.scene').hidden && document.querySelector('.news').hidden")
        assert tab.said == []
    finally:
        driven.close()
        starts.close()


def test_a_start_picture_is_confirmed_once_it_is_seen_also_before_the_first_of_a_camera(
    chromium: Browser, tmp_path: Path
) -> None:
    """The page was opened while the robot was made ready: what comes later lies under the start picture."""
    controls, seen, starts = Controls(), Seen(), Starts(tmp_path)
    desk = TrialDesk(controls, starts=starts, seen=seen)
    desk.expect(Turn(1, 7, "m", "A"), [{"number": 1, "label": "A", "start": 7, "outcome": None}])
    starts.keep(7, {"wrist": picture(3)})
    until(lambda: starts.of(7)["cameras"], "it is kept")
    read, fetched = starts.read, threading.Event()

    def slow(start: int, camera: str) -> tuple[bytes, str]:
        assert fetched.wait(PATIENCE)
        return read(start, camera)

    starts.read = slow  # type: ignore[method-assign]
    Filmed.uncovered.clear()
    driven = Driven(desk, seen, controls, starts)
    try:
        tab = chromium.tab()
        tab.front()
        tab.go(driven.server.url)
        tab.until("!document.querySelector('.scene').hidden")
        said = tab.until("document.querySelector('.scene [role=status]').textContent")
        assert said == "the start picture of wrist is awaited"
        assert tab.eval("document.querySelector('.scene label').hidden") is True
        tab.press("s")
        said = tab.until("document.querySelector('.news').textContent")
        assert said == "nothing begins yet: the start picture of wrist is awaited"
        fetched.set()
        tab.until("!document.querySelector('.scene label').hidden")
        shown = "[...document.querySelectorAll('img.reference')].every((i) => !i.hidden && i.naturalWidth === 64)"
        assert tab.eval(shown) is True
        assert tab.eval("document.querySelector('.age').textContent") == "no picture yet"
        assert tab.eval("document.querySelector('[data-do=start]').disabled") is True
        tab.click(".scene input[type=checkbox]")
        tab.until("!document.querySelector('[data-do=start]').disabled")
        Filmed.uncovered.set()
        tab.until("document.querySelector('canvas[data-camera]').dataset.number > 0")
        assert tab.eval(shown) is True
        assert tab.eval("document.querySelectorAll('canvas[data-camera]').length") == 1
        tab.press("s")
        tab.until(f"{PHASE} === 'playing'")
        tab.until("document.querySelector('img.reference').hidden")
        assert tab.said == []
    finally:
        Filmed.uncovered.set()
        driven.close()
        starts.close()


def test_a_start_picture_that_cannot_be_shown_is_not_confirmed(chromium: Browser, tmp_path: Path) -> None:
    controls, seen, starts = Controls(), Seen(), Starts(tmp_path)
    desk = TrialDesk(controls, starts=starts, seen=seen)
    desk.expect(Turn(1, 7, "m", "A"), [{"number": 1, "label": "A", "start": 7, "outcome": None}])
    starts.keep(7, {"wrist": picture(3)})
    until(lambda: starts.of(7)["cameras"], "it is kept")
    (tmp_path / "7-wrist.png").unlink()
    driven = Driven(desk, seen, controls, starts)
    try:
        tab = opened(chromium, driven)
        said = "the start picture of wrist cannot be shown: load the page anew"
        tab.until(f"document.querySelector('.scene [role=status]').textContent === {said!r}")
        assert tab.eval("document.querySelector('.scene label').hidden") is True
        assert tab.eval("document.querySelector('[data-do=start]').disabled") is True
    finally:
        driven.close()
        starts.close()
