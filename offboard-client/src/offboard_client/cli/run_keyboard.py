"""``offboard run … --driver keyboard``: what the keys do, and the line that says so."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from rich.cells import cell_len

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
from ..terminal import ENDED, Line, note, pressed
from .run_display import Display

_BACKSPACE = "\x7f\x08"
_ESCAPE = "\x1b"
_ENTER = "\r\n"
#: Characters of an instruction.
_LONGEST = 1000
#: Columns of the line, beside which a spinner and a clock stand on 80.
_WIDE = 68


class Keyboard:
    """Posts what is pressed. Its line says where the run is, and what may be pressed."""

    def __init__(self, controls: Controls, line: Line, leads: bool) -> None:
        """``leads``: whether the robot has what a person can lead it with."""
        self._controls, self._line, self._leads = controls, line, leads
        self._lock = threading.Lock()
        self._typed: str | None = None
        self._hint = ""
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
                before, self._hint = self._hint, self._command(key.lower()) or ""
                if self._hint not in ("", before):  # once, for whoever leans on it
                    note(self._hint)
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

    def _command(self, key: str) -> str | None:
        """What is to be said of a key that does nothing."""
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
        elif key == "t":
            if not self._leads:
                return "t: this robot has no leader with which a person could take over"
            if not self._playing:
                return "t: there is nothing to take over before an episode has begun"
            self._led = not self._led
            post(TakeOver() if self._led else GiveBack())
        elif key.isprintable():
            return f"{key}: nothing is done by this key; those on the line are"
        return None

    def _type(self, typed: str, key: str) -> None:
        if key == _ESCAPE:
            self._typed = None
        elif len(typed) > _LONGEST:  # something was pasted; cut off it would be another instruction
            return
        elif key in _ENTER:
            self._typed = None
            if typed.strip():
                self._controls.post(Instruct(typed.strip()))
                note(f"from its next answer on the policy is told: {typed.strip()}")
        elif key in _BACKSPACE:
            self._typed = typed[:-1]
        elif key.isprintable():
            self._typed = typed + key

    def _show(self) -> None:
        if self._typed is not None:
            long = len(self._typed) > _LONGEST
            keys = f"over {_LONGEST} characters; Esc: drop it" if long else "Enter: tell it, Esc: do not"
            self._line.show(f"say: {_end(self._typed, _WIDE - len(keys) - 11)}_  ({keys})")
            return
        doing = "HOLDING" if self._controls.hold else self._doing
        take = f" t:{'give back' if self._led else 'take over'}" if self._leads and self._playing else ""
        hold = "go on" if self._controls.hold else "hold"
        start = "" if self._playing else "s:start "
        # What no longer fits stands last.
        self._line.show(f"{doing} | {start}p:stop r:reset space:{hold} i:say q:quit{take}")


def _end(text: str, width: int) -> str:
    """The end of a text in so many columns and one more."""
    if cell_len(text) <= width:
        return text
    text = text[-width:]
    while cell_len(text) > width:
        text = text[1:]
    return f"…{text}"


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
