"""``offboard run … --driver keyboard``: what the keys do, and the line that says so."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from ..play import (
    Controls,
    EpisodeInfo,
    GiveBack,
    Hold,
    Instruct,
    Outcome,
    Quit,
    Reset,
    Resume,
    Start,
    Stop,
    TakeOver,
    Tick,
)
from ..terminal import ENDED, Line, pressed
from .run_display import Display

_BACKSPACE = "\x7f\x08"
_ESCAPE = "\x1b"
_ENTER = "\r\n"
#: Characters of an instruction, and how many of them the line shows.
_LONGEST, _SHOWN = 1000, 50


class Keyboard:
    """Posts what is pressed. Its line says where the run is, and what may be pressed."""

    def __init__(self, controls: Controls, line: Line, leads: bool) -> None:
        """``leads``: whether the robot has what a person can lead it with."""
        self._controls, self._line, self._leads = controls, line, leads
        self._lock = threading.Lock()
        self._typed: str | None = None
        self._playing = self._led = False
        self._doing = "ready"

    @contextmanager
    def listening(self) -> Generator[None]:
        """Within, keys count. Raises ConfigurationError without a terminal."""
        with pressed(self.key):
            self.says("ready")
            yield

    def key(self, key: str) -> None:
        """A key was pressed; :data:`~offboard_client.terminal.ENDED`: there will be no more."""
        with self._lock:
            if self._typed is None or key == ENDED:
                self._command(key)
            else:
                self._type(self._typed, key)
            self._show()

    def began(self, doing: str) -> None:
        """An episode begins: of the policy, whoever led the one before."""
        with self._lock:
            self._playing, self._led = True, False
        self.says(doing)

    def over(self) -> None:
        """It is over, and nobody leads any more."""
        with self._lock:
            self._playing = self._led = False
        self.says("ready")

    def says(self, doing: str) -> None:
        """Where the run is."""
        with self._lock:
            self._doing = doing
            self._show()

    def _command(self, key: str) -> None:
        post = self._controls.post
        if key == "s":
            post(Resume())
            post(Start())
        elif key == "p":
            post(Stop())
        elif key == "r":
            post(Reset())
        elif key in ("q", ENDED):
            post(Quit())
        elif key == " ":
            post(Resume() if self._controls.hold else Hold())
        elif key == "i":
            self._typed = ""
        elif key == "t" and self._leads and self._playing:
            self._led = not self._led
            post(TakeOver() if self._led else GiveBack())

    def _type(self, typed: str, key: str) -> None:
        if key == _ESCAPE:
            self._typed = None
        elif len(typed) > _LONGEST:  # something was pasted; cut off it would be another instruction
            return
        elif key in _ENTER:
            self._typed = None
            if typed.strip():
                self._controls.post(Instruct(typed.strip()))
        elif key in _BACKSPACE:
            self._typed = typed[:-1]
        elif key.isprintable():
            self._typed = typed + key

    def _show(self) -> None:
        if self._typed is not None:
            long = len(self._typed) > _LONGEST
            keys = f"over {_LONGEST} characters; Esc: drop it" if long else "Enter: tell it, Esc: do not"
            cut = "…" if len(self._typed) > _SHOWN else ""
            self._line.show(f"instruction: {cut}{self._typed[-_SHOWN:]}_  ({keys})")
            return
        doing = "HOLDING" if self._controls.hold else self._doing
        take = f" t:{'give back' if self._led else 'take over'}" if self._leads and self._playing else ""
        hold = "go on" if self._controls.hold else "hold"
        self._line.show(f"{doing} | s:start p:stop r:reset space:{hold} i:say{take} q:quit")


class KeyboardDisplay(Display):
    """The display of an attended run: the keys stay on the line."""

    def __init__(self, keyboard: Keyboard, line: Line) -> None:
        super().__init__(line, 0, 0.0)
        self._keyboard = keyboard

    def started(self, episode: EpisodeInfo) -> None:
        """On the line."""
        super().started(episode)
        self._keyboard.began(f"episode {episode.number}")

    def ticked(self, tick: Tick) -> None:
        """On the line: how far it is, and why the arm does not play, where it does not."""
        self._seen.ticked(tick)
        self._went_on()
        episode = self._seen.episodes[-1]
        why = "" if tick.rung == "playing" else f" {tick.rung.replace('_', ' ')}"
        self._keyboard.says(f"episode {len(self._seen.episodes)} {episode.seconds:.0f} s{why}")

    def ended(self, outcome: Outcome) -> None:
        """A line of its own."""
        super().ended(outcome)
        self._keyboard.over()
