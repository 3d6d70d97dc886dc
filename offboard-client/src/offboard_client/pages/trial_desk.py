"""What people may do with an evaluation from its page: set a trial up, start it, judge it, and on to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..evaluation import Judgement, Review, Turn
from ..play import Controls, EpisodeInfo, Stop
from .desk import Desk, TooLate
from .live_seen import Seen
from .starts import Starts

#: Seconds from one look to the next whether somebody has judged.
_LOOK = 0.2


class TrialDesk(Desk):
    """The same for trials. Each is begun by a person who says that the scene is set up, and counts when somebody has
    said what came of it.

    A trial is annulled, for a reason, and never thrown away: it stays counted as annulled. ``mask``: hides the names of
    models in words. ``judging``: False: others begin and judge the trials, and the page holds the arm at most.
    """

    def __init__(
        self,
        controls: Controls,
        *,
        told: Callable[[str], None] = lambda text: None,
        starts: Starts | None = None,
        seen: Seen | None = None,
        mask: Callable[[str], str] = str,
        judging: bool = True,
    ) -> None:
        super().__init__(controls, told=told, starts=starts, seen=seen)
        self._mask, self._judges = mask, judging
        self._turn: Turn | None = None
        self._queue: Sequence[Mapping[str, Any]] = ()
        self._of = 0
        self._by_task: Judgement | None = None
        self._annulled = self._waits = self._left = False
        self._judgement: Judgement | None = None
        self._settled = threading.Event()

    def expect(self, turn: Turn, queue: Sequence[Mapping[str, Any]]) -> None:
        """The next trial, before its model is made ready. ``queue``: of all trials, plain JSON data: ``number``,
        ``label``, ``start``, ``outcome``."""
        with self._lock:
            self._turn, self._queue = turn, queue
            self._annulled, self._by_task = False, None  # those of the trial before
            self._move("opening")

    def judge(self, turn: Turn, by_task: Judgement | None, look: Callable[[], None] = lambda: None) -> Judgement | None:
        """Wait until somebody has said what came of a trial that is over. ``by_task``: what the task says, if it can;
        ``look``: what is done meanwhile, on this thread.

        None: nothing came of it, for it was ended by something else than a person's judgement, or somebody leaves.
        """
        with self._lock:
            stopped = self.outcome is not None and self.outcome.stopped
            if stopped and self.review.outcome is None and not self._annulled:
                return None
            if self._left:
                return None
            self._by_task, self._judgement, self._waits = by_task, None, True
            self.turn += 1
            self._settled.clear()
        while not self._settled.wait(_LOOK):
            look()
        with self._lock:
            self._waits = False
        return None if self._left else self._judgement

    def settled(self, counts: bool) -> None:
        """Whether the trial that is over counts: it may be an error, whatever was said of it."""
        with self._lock:
            if not counts:
                self._forget()
            self._kept = False

    def as_dict(self) -> dict[str, Any]:
        """See :meth:`.desk.Desk.as_dict`."""
        found = super().as_dict()
        if self.phase != "playing" and self.phase != "over":  # what was said of the trial before is settled
            found["review"] = Review().as_dict()
        if found["failure"] is not None:
            found["failure"] = [found["failure"][0], self._mask(found["failure"][1])]
        with self._lock:
            turn = self._turn
            found["trial"] = turn and {
                "number": turn.number, "label": turn.label, "start": turn.start, "of": len(self._queue),
                "annulled": self._annulled, "task_says": self._by_task and self._by_task.outcome,
                "unanswered": self._void(), "missing": self._missing() if self._waits else None,
            }  # fmt: skip
            now = None if turn is None else turn.number
            found["queue"] = [{**each, "now": each["number"] == now} for each in self._queue]
        return found

    def may(self) -> list[str]:
        """See :meth:`.desk.Desk.may`."""
        found = super().may()
        if not self._judges:
            return [each for each in found if each in ("hold", "resume")]
        if self.phase == "over":
            found = [each for each in found if each not in ("start", "outcome")]
            if self._waits:
                found += ["outcome", "reset"] + ([] if self._missing() else ["submit"])
        return found

    def started(self, episode: EpisodeInfo, /) -> None:
        """A trial begins; each run of a driver counts from 1."""
        with self._lock:
            self.number, self.outcome, self._annulled, self._by_task = self.number + 1, None, False, None
            self._move("playing")

    # -- inside ----------------------------------------------------------------------------------------
    def _where(self) -> str:
        return super()._where() + (" and annulled" if self._annulled else "")

    def _start_of_next(self) -> int | None:
        return self._turn.start if self._turn is not None and self.phase in ("opening", "ready") else None

    def _open(self, number: int) -> bool:
        return number is not True and number == self.number and (self.phase == "playing" or self._waits)

    def _outcome(self, said: Mapping[str, Any]) -> None:
        over = self.phase == "over"
        super()._outcome(said)
        self._annulled = False
        if over:
            self.turn += 1  # nobody keeps a judgement that another has changed meanwhile

    def _reset(self, said: Mapping[str, Any]) -> None:
        """Annulled: it keeps its recording, and asks for a reason."""
        if self.phase == "playing":
            self._annulled = True
            self._ending(Stop())
        else:
            self._annulled = not self._annulled
            self.turn += 1  # whoever pressed with the other answer before their eyes meant that one

    def _submit(self, said: Mapping[str, Any]) -> None:
        review = self.review
        if (shown := said.get("items")) is not None and shown != [review.items, review.items_total]:
            raise TooLate(
                f"somebody else has counted meanwhile: {_words(review.items)} items of {_words(review.items_total)} "
                "were done, and nothing was kept"
            )
        if (missing := self._missing()) is not None:
            raise TooLate(missing)
        outcome, score = review.outcome, review.score
        if self._annulled:
            outcome, score = "annulled", None
            self._forget()
        elif outcome is None and self._by_task is not None:
            outcome = self._by_task.outcome
            score = self._by_task.score if score is None else score
        self._judgement = Judgement(outcome, score, review.tags, review.note, review.items, review.items_total)
        self._waits = False
        self.turn += 1
        self._settled.set()

    def _forget(self) -> None:
        """Nothing was counted from the start picture that this trial kept, and it may be why: the next is the first."""
        if self._starts is not None and self._turn is not None and self._kept:
            self._starts.forget(self._turn.start)
            self._kept = False

    def _quit(self, said: Mapping[str, Any]) -> None:
        super()._quit(said)
        self._left = True
        self._settled.set()

    def _void(self) -> str | None:
        """What the arm had waited for in vain, in words, where that is why a trial does not count, whatever is said."""
        owed = None if self.outcome is None else self.outcome.unanswered
        return None if owed is None or self._annulled else self._mask(f"{owed[0]}: {owed[1]}")

    def _missing(self) -> str | None:
        """What has to be said before a trial counts, in words."""
        review = self.review
        if self._annulled:
            return None if review.note.strip() else "a trial is annulled for a reason: write it into the note"
        if review.outcome is None:
            return None if self._by_task is not None else "say what came of it"
        if review.outcome == "partial" and review.score is None:
            return "a partial success has a share: how many items were done, of how many"
        return None


def _words(count: int | None) -> str:
    return "no" if count is None else str(count)
