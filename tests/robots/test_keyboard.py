"""An attended run on a terminal of its own: what keys do, what the line says, and that the terminal is as it was."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import select
import signal
import sys
import time
from collections.abc import Generator
from typing import Any

import pytest
from offboard_client.cli import Keyboard
from offboard_client.play import (
    Controls,
    GiveBack,
    Instruct,
    Quit,
    Reset,
    Start,
    Stop,
    TakeOver,
)
from offboard_client.terminal import ENDED, pressed
from offboard_process import offboard, started
from rich.cells import cell_len

# A terminal as POSIX has it; elsewhere this driver is refused.
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

PATIENCE = 60.0
KEYS = "s:start p:stop r:reset space:hold i:say q:quit"


class Shown:
    """Stands for the line; what it showed last."""

    def __init__(self) -> None:
        self.text = ""

    def show(self, text: str) -> None:
        self.text = text


def keyboard(leads: bool = False) -> tuple[Controls, Shown, Keyboard]:
    controls, line = Controls(), Shown()
    it: Any = line
    return controls, line, Keyboard(controls, it, leads)


def press(board: Keyboard, keys: str) -> None:
    for key in keys:
        board.key(key)


@pytest.mark.parametrize(
    ("key", "command"), [("s", Start()), ("p", Stop()), ("r", Reset()), ("q", Quit()), (ENDED, Quit())]
)
def test_each_key_has_its_command(key: str, command: Any) -> None:
    controls, line, board = keyboard()
    board.key(key)
    assert controls.take() == [command]
    assert line.text == f"ready | {KEYS}"
    assert len(line.text) < 70, "with a spinner and a clock beside it on 80 columns"


def test_space_holds_and_goes_on_and_a_start_goes_on_too() -> None:
    controls, line, board = keyboard()
    board.key(" ")
    assert controls.hold
    assert line.text.startswith("HOLDING | ")
    assert "space:go on" in line.text
    board.key(" ")
    assert not controls.hold
    press(board, " s")
    assert not controls.hold


def test_an_instruction_is_typed_and_its_keys_are_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    controls, line, board = keyboard()
    press(board, "istop queue\x7f\x7f")
    assert line.text.startswith("say: stop que_")
    press(board, " 象\r")
    assert controls.take() == [Instruct("stop que 象")]
    assert capsys.readouterr().err == "from its next answer on the policy is told: stop que 象\n"
    press(board, "iquit\x1b")
    press(board, "i  \r")
    assert controls.take() == []
    assert line.text == f"ready | {KEYS}"
    assert not capsys.readouterr().err


@pytest.mark.parametrize("letter", ["x", "象"])
def test_whoever_types_sees_the_end_of_it_and_the_keys_on_80_columns(letter: str) -> None:
    _, line, board = keyboard()
    press(board, "i" + 40 * letter + "!")
    assert re.fullmatch(r"say: …(x{29}|象{14})!_  \(Enter: tell it, Esc: do not\)", line.text)
    assert cell_len(line.text) < 70


def test_a_key_that_does_nothing_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever leans on it is not told again and again; after a key that counts it is news."""
    controls, _, board = keyboard()
    for keys, says in {"xxx": "x: nothing is done by this key", "tt": "t: this robot has no leader", "\t": ""}.items():
        press(board, keys)
        said = capsys.readouterr().err
        assert said.startswith(says)
        assert said.count("\n") == bool(says)
    press(board, "x x")
    assert capsys.readouterr().err.count("\n") == 2
    _, _, board = keyboard(leads=True)
    press(board, "t")
    assert "nothing to take over" in capsys.readouterr().err
    controls.take()


def test_keys_count_with_caps_lock_too() -> None:
    controls, _, board = keyboard()
    press(board, "SPiGo\rQ")
    assert controls.take() == [Start(), Stop(), Instruct("Go"), Quit()]


def test_a_terminal_that_goes_away_while_somebody_types_ends_the_run() -> None:
    controls, _, board = keyboard()
    press(board, "ihalf")
    board.key(ENDED)
    assert controls.take() == [Quit()]


def test_taking_over_is_offered_where_there_is_a_leader() -> None:
    controls, line, board = keyboard(leads=True)
    board.began("episode 1")
    assert "t:take over" in line.text
    press(board, "t")
    assert "t:give back" in line.text
    board.says("episode 12 345 s")
    assert line.text == "episode 12 345 s | p:stop r:reset space:hold i:say q:quit t:give back"
    assert len(line.text) < 70
    press(board, "t")
    assert controls.take() == [TakeOver(), GiveBack()]
    controls, line, board = keyboard()
    board.began("episode 1")
    press(board, "t")
    assert controls.take() == []


def test_what_was_typed_before_anybody_was_asked_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(master, b"s")
        assert os.read(master, 16) == b"s", "its echo: the terminal has it"
        heard = queue.Queue[str]()
        with pressed(heard.put):
            os.write(master, b"q")
            assert heard.get(timeout=PATIENCE) == "q"
    os.close(master)


def test_whoever_led_an_episode_to_its_end_takes_over_anew_in_the_next() -> None:
    """The policy has the arm there, and a key that gave it back would leave it with the policy."""
    controls, line, board = keyboard(leads=True)
    press(board, "t")
    assert controls.take() == [], "nobody has it between two episodes"
    for number in (1, 2):
        board.began(f"episode {number}")
        press(board, "t")
        assert controls.take() == [TakeOver()]
        board.over()
        assert line.text.startswith("ready | ")
        assert "give back" not in line.text


def test_what_is_pasted_as_an_instruction_is_told_whole_or_not_at_all() -> None:
    controls, line, board = keyboard()
    press(board, "i" + "x" * 1001)
    assert "over 1000 characters; Esc: drop it" in line.text
    assert len(line.text) < 70
    press(board, "\x7f\r")
    assert controls.take() == []
    press(board, "\x1bi" + "x" * 1000 + "\r")
    assert controls.take() == [Instruct("x" * 1000)]


def test_a_key_that_comes_together_with_an_arrow_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """As over a slow link. What arrows, function keys and Alt send is no key."""
    master, slave = pty.openpty()
    heard = queue.Queue[str]()
    with os.fdopen(slave) as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        with pressed(heard.put):
            os.write(master, b"\x1b[A \x1b[15~\x1bOP\x1bsp\xc3\xa9")
            assert [heard.get(timeout=PATIENCE) for _ in range(3)] == [" ", "p", "é"]
            os.write(master, b"\x1b")
            assert heard.get(timeout=PATIENCE) == "\x1b"
    os.close(master)


class Station:
    """``offboard run sim --driver keyboard`` on a pseudo-terminal."""

    def __init__(self, *options: str) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = ""
        self.process = started(
            "run", "sim", "--policy", "local:scripted", "--driver", "keyboard", *options,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip

    def until(self, pattern: str) -> None:
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.seen):
            ready, _, _ = select.select([self.master], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += os.read(self.master, 65536).decode()

    def press(self, keys: str) -> None:
        self.seen = ""
        os.write(self.master, keys.encode())

    def rest(self) -> None:
        """Reads on until it has ended."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                self.seen += os.read(self.master, 65536).decode()
        assert self.process.poll() is not None, self.seen
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536).decode()

    @property
    def as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before


@contextlib.contextmanager
def station(*options: str) -> Generator[Station]:
    pytest.importorskip("mujoco")
    pytest.importorskip("offboard_core")
    it = Station(*options)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.wait()
        os.close(it.master)
        os.close(it.slave)


def test_a_run_is_started_held_stopped_and_left_by_keys() -> None:
    with station() as it:
        it.until("ready")
        assert not it.as_before
        it.press("s")
        it.until(r"episode 1 [1-9]")
        it.press(" ")
        it.until("HOLDING")
        it.press(" p")
        it.until(r"episode 1 \(seed 0\): stopped after")
        it.press("s")
        it.until("episode 2")
        it.press("q")
        it.rest()
        assert "a round trip over 66.7 ms" in it.seen
        assert it.process.returncode == 0
        assert it.as_before
        assert "0 of 2 episodes, 2 not judged" in it.seen


#: Their handler is one, and not Ctrl-C's.
TERM = (signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow))


@pytest.mark.parametrize("number", [signal.SIGINT, *TERM])
def test_whatever_ends_it_the_terminal_is_as_it_was(number: signal.Signals) -> None:
    with station() as it:
        it.until("ready")
        it.process.send_signal(number)
        it.rest()
        assert it.process.returncode == 130
        assert it.as_before


def test_who_quits_before_anything_was_played_is_told_no_number_that_is_none() -> None:
    with station() as it:
        it.until("ready")
        it.press("q")
        it.rest()
        assert it.process.returncode == 0
        assert "0 of 0 episodes" in it.seen
        assert "nan" not in it.seen


def test_without_a_terminal_it_says_so_before_anything_is_opened() -> None:
    done = offboard("run", "sim", "nowhere:1", "--driver", "keyboard")
    assert done.returncode == 1
    assert "needs a terminal, and stdin is none" in done.stderr
