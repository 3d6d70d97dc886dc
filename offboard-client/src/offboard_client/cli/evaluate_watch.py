"""What is seen of an evaluation while it goes on: a line for each trial, and a recording."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from ..errors import printable
from ..evaluation import ERRORS, Evaluation, Trial, Turn, Watched
from ..play import Bounded
from ..terminal import Line
from ..wire import Status
from .run_record import EVENTS, PATIENCE, WAITING

_WAITED = "the model of the next trial is made ready"


class Progress:
    """Says which trial is under way, what came of each, and how long the rest may take."""

    def __init__(self, line: Line, mask: Callable[[str], str]) -> None:
        self._line, self._mask = line, mask
        self._began, self._over = monotonic(), 0

    def begins(self, evaluation: Evaluation, turn: Turn) -> None:
        """The model is ready, and the trial begins. Only on a terminal: each has its line when it is over."""
        if self._line.live:
            self._line.event(f"trial {len(evaluation.log.trials) + 1}: {turn.label} from start {turn.start}")

    def ends(self, evaluation: Evaluation, turn: Turn, trial: Trial) -> None:
        """A trial is over, and in the log."""
        trials = evaluation.log.trials
        self._over += 1
        # The number that it has in the report, and for --annul: of the order in which trials end.
        said = f"trial {len(trials)}: {turn.label} from start {turn.start}: {trial.outcome}"
        if trial.seconds is not None:
            said += f" after {trial.seconds:.1f} s"
        if trial.note:
            said += f": {self._mask(printable(trial.note))}"
        if evaluation.left and evaluation.ended is None:
            each = (monotonic() - self._began) / self._over
            said += f" ({evaluation.left} left, about {_span(evaluation.left * each)})"
        self._line.aside(said)
        if trial.outcome == "error" and trial.model in evaluation.given_up:
            self._line.aside(f"{turn.label} is given up: {ERRORS} of its trials in a row ended by an error")


class Unnamed(Line):
    """A line that names no model, for whoever shall not know which one is played."""

    def __init__(self, line: Line, mask: Callable[[str], str]) -> None:
        self._line, self._mask, self.live = line, mask, line.live

    def stop(self) -> None:
        """See :meth:`Line.stop`."""
        self._line.stop()

    def status(self, status: Status) -> None:
        """That something is waited for, and for how long; how large a model is may tell which it is."""
        if self._line.live:
            self._line.status(replace(status, phase=_WAITED, done_bytes=None, total_bytes=None))

    def event(self, text: str) -> None:
        """See :meth:`Line.event`."""
        self._line.event(self._mask(text))

    def aside(self, text: str) -> None:
        """See :meth:`Line.aside`."""
        self._line.aside(self._mask(text))

    def show(self, text: str, done: float | None = None, total: float | None = None, amount: str = "") -> None:
        """See :meth:`Line.show`."""
        self._line.show(self._mask(text), done, total, amount)


class Recordings:
    """Records each trial into a file of its own."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self._folder, self._facts = folder, facts

    @contextmanager
    def watch(self, turn: Turn) -> Generator[Watched, None, None]:
        """Records a turn, as long as it is played."""
        from ..recording import Recorder  # video's libraries are large

        facts = self._facts | {"trial": turn.number, "model": turn.model, "start": turn.start}
        recorder = Recorder(self._folder, facts)
        bounded = Bounded(recorder, EVENTS, f"the recording in {self._folder}", WAITING)
        recorder.loss = bounded.loss
        seen = Watched([bounded])
        try:
            yield seen
        finally:
            bounded.close(PATIENCE)
            seen.name = next((path.name for path in recorder.recorded.files), "")


@contextmanager
def nobody(turn: Turn) -> Generator[Watched, None, None]:
    """Nobody watches."""
    yield Watched()


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
