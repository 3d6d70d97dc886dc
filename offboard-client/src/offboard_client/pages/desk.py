"""What people may do with a run from its page, and what they say of its episodes.

Everybody who asks for something says of which moment they thought: whoever pressed a button twice, or for an episode
that was over by then, is refused, and the arm does nothing that nobody meant. To hold is never refused.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..errors import BadParameter, brief, unknown
from ..evaluation import COUNTED, Review, revise
from ..play import Answer, Controls, EpisodeInfo, Hold, Outcome, Quit, Reset, Resume, Start, Stop, Tick
from .live_seen import Seen
from .starts import Starts

#: ``opening``: robot and policy are made ready; ``ready``: nothing was played yet; ``starting``; ``playing``; ``over``:
#: the episode is over and may be judged; ``closed``: so is the run.
Phase = Literal["opening", "ready", "starting", "playing", "over", "closed"]
_COMMANDS = ("hold", "resume", "start", "outcome", "reset", "quit", "submit")


class TooLate(Exception):
    """What was asked for was about a moment that is over. Nothing was done."""


class Desk:
    """Thread-safe. An observer of the run, told on the thread that controls the arm where an episode begins and ends.

    ``run``: a name of this run that nobody can guess. ``turn``: counts whatever begins or ends.
    """

    #: What may be said of an episode.
    outcomes: Sequence[str] = COUNTED

    def __init__(
        self,
        controls: Controls,
        *,
        told: Callable[[str], None] = lambda text: None,
        starts: Starts | None = None,
        seen: Seen | None = None,
        first: int = 0,
    ) -> None:
        """``told``: hears in words what is done from a page. ``starts``: how scenes are set up, if that is looked at;
        ``seen``: what is seen then. ``first``: the start of the first episode; the next has the next."""
        self.run = secrets.token_urlsafe(12)
        self.phase: Phase = "opening"
        self.turn = self.number = 0
        self.outcome: Outcome | None = None
        #: What was said of each episode, by its number; of those that were thrown away nothing.
        self.said: dict[int, Review] = {}
        #: Set whenever something was said of an episode that is over.
        self.changed = threading.Event()
        self._controls, self._told = controls, told
        self._starts, self._seen, self._first = starts, seen, first
        self._thrown: set[int] = set()
        #: Whether the start picture was kept as this episode began.
        self._kept = False
        self._lock = threading.Lock()

    @property
    def review(self) -> Review:
        """Of the episode that goes on, or of the last."""
        return self.said.get(self.number, Review())

    def opened(self) -> None:
        """Robot and policy are there."""
        self._moved("ready")

    def close(self) -> None:
        """The run is over."""
        self._moved("closed")

    def as_dict(self) -> dict[str, Any]:
        """What a page shows of it, and what it says when somebody asks for something. Plain JSON data."""
        with self._lock:
            ended, start = self.outcome, self._start_of_next()
            return {
                "scene": None if self._starts is None or start is None else self._starts.of(start),
                "run": self.run, "phase": self.phase, "turn": self.turn, "number": self.number,
                "holds": self._controls.holds,
                "hold": self._controls.hold, "may": self.may(), "review": self.review.as_dict(),
                "kept": ended is None or ended.kept, "success": None if ended is None else ended.success,
                "failure": None if ended is None or ended.failure is None else [*ended.failure],
                "outcomes": [*self.outcomes],
            }  # fmt: skip

    def may(self) -> list[str]:
        """What would be done now."""
        if self.phase == "closed":
            return []
        found = ["resume" if self._controls.hold else "hold"]
        if self._startable():
            found.append("start")
        if self.phase == "playing":
            found += ["outcome", "reset"]
        elif self.phase == "over":
            found.append("outcome")
        if self.phase in ("ready", "over"):
            found.append("quit")
        return found

    # -- the observer ----------------------------------------------------------------------------------
    def started(self, episode: EpisodeInfo, /) -> None:
        """An episode begins."""
        with self._lock:
            self.number, self.outcome = episode.number, None
            self._move("playing")

    def answered(self, answer: Answer, /) -> None:
        """Nothing."""

    def ticked(self, tick: Tick, /) -> None:
        """Nothing."""

    def ended(self, outcome: Outcome, /) -> None:
        """It is over."""
        with self._lock:
            self.outcome = outcome
            if not outcome.kept:
                self.said.pop(self.number, None)
                self._thrown.add(self.number)
            self._move("over")
        self.changed.set()

    # -- what people do --------------------------------------------------------------------------------
    def do(self, said: Mapping[str, Any]) -> None:
        """``do``: what; ``run``, ``turn``, ``holds``: as they were shown; ``outcome``.

        Raises TooLate and BadParameter, and then nothing was done.
        """
        what = said.get("do")
        if what not in _COMMANDS:
            raise BadParameter(unknown("command", str(what), _COMMANDS))
        if what == "hold":
            with self._lock:  # nobody lets it go on at the same moment
                self._controls.post(Hold())
            self._told("held from the page")
            return
        with self._lock:
            if said.get("run") != self.run:
                raise TooLate("this page is of another run: load it anew")
            if said.get("turn") != self.turn:
                raise TooLate(f"this was about what is over: it is {self._where()} by now, and nothing was done")
            if what in ("resume", "start") and said.get("holds") != self._controls.holds:
                raise TooLate("somebody has held the arm since: nothing was done")
            if what not in self.may():
                raise TooLate(f"{what} is nothing to be done while it is {self._where()}")
            getattr(self, f"_{what}")(said)

    def say(self, said: Mapping[str, Any]) -> tuple[Review, list[str]]:
        """``run``, ``number``: of which episode; ``words``, ``seen``, ``tags``: as of
        :func:`~offboard_client.evaluation.revise`. Raises TooLate, BadParameter.
        """
        words, seen, tags = (_map(said, name) for name in ("words", "seen", "tags"))
        if "outcome" in words:
            raise BadParameter("an outcome is said by a command of its own")
        with self._lock:
            number = said.get("number")
            if said.get("run") != self.run or not isinstance(number, int) or not self._open(number):
                raise TooLate("there is nothing to be said of that episode any more: it was thrown away, or is settled")
            before = self.said.get(number, Review())
            review, lost = revise(before, words, seen, tags={name: bool(has) for name, has in tags.items()})
            self.said[number] = review
        self.changed.set()
        return review, lost

    # -- inside ----------------------------------------------------------------------------------------
    def _open(self, number: int) -> bool:
        """Whether something may be said of an episode."""
        return number is not True and 1 <= number <= self.number and number not in self._thrown

    def _startable(self) -> bool:
        return self.phase in ("ready", "over") and self._controls.waiting and not self._controls.hold

    def _start_of_next(self) -> int | None:
        """From where the next episode starts, while its scene can be set up."""
        return self._first + self.number if self.phase in ("opening", "ready", "over") else None

    def _resume(self, said: Mapping[str, Any]) -> None:
        self._controls.post(Resume())
        self._told("goes on from the page")

    def _start(self, said: Mapping[str, Any]) -> None:
        if self._starts is not None and (start := self._start_of_next()) is not None:
            if said.get("scene") != self._starts.of(start)["stamp"]:
                raise TooLate("nobody has confirmed that the scene is set up for this start: nothing was done")
            if self._seen is not None:
                pictures = {camera: each.image for camera, each in self._seen.pictures().items()}
                self._kept = self._starts.keep(start, pictures)
        self._move("starting")
        self._controls.post(Start())

    def _outcome(self, said: Mapping[str, Any]) -> None:
        """Ends the episode, if it goes on."""
        outcome = said.get("outcome")
        if outcome not in self.outcomes and not (outcome is None and self.phase == "over"):
            raise BadParameter(unknown("outcome", str(outcome), self.outcomes))
        if not self._open(self.number):
            raise TooLate("this episode was thrown away: there is nothing to say of it")
        self.said[self.number] = replace(self.review, outcome=outcome, changed=time.time())
        self.changed.set()
        if self.phase == "playing":
            self._ending(Stop())
        self._told(f"episode {self.number}: {outcome or 'not scored'}, says the page")

    def _reset(self, said: Mapping[str, Any]) -> None:
        self._ending(Reset())

    def _ending(self, command: Stop | Reset) -> None:
        # One end of an episode is enough, whatever is pressed until it is there.
        self.turn += 1
        self._controls.post(command)

    def _submit(self, said: Mapping[str, Any]) -> None:
        """Nothing: only a trial waits for that."""

    def _quit(self, said: Mapping[str, Any]) -> None:
        self._controls.post(Quit())

    def _where(self) -> str:
        return f"{self.phase}{', held' if self._controls.hold else ''}"

    def _moved(self, phase: Phase) -> None:
        with self._lock:
            self._move(phase)

    def _move(self, phase: Phase) -> None:
        self.phase = phase
        self.turn += 1


def _map(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = said.get(name, {})
    if not isinstance(value, dict):
        raise BadParameter(f"{name} is {brief(value)}; expected an object")
    return value  # pyright: ignore[reportUnknownVariableType]
