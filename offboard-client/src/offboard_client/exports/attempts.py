"""Which attempts become training data: those that came out so, and of them the ranges that were cut out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import RecordingFailed
from ..evaluation import Clip, Review, Trial, TrialOutcome, read_review, trials_of
from ..recording import glance


@dataclass(frozen=True)
class Attempt:
    """A recording, or a range of one.

    ``outcome``, ``score``: what came of it, None where nobody can tell: what a person said of the recording, else of
    the trial as it was played, else what the robot's own task did. ``review``: all that people said of it. ``began``:
    seconds since 1970, when it was recorded; with the name it says which one it is.
    """

    path: Path
    review: Review
    began: float = 0.0
    outcome: TrialOutcome | None = None
    score: float | None = None
    clip: Clip | None = None

    @property
    def name(self) -> str:
        """What it is called, in a data set too: ``NAME``, or ``NAME#CLIP``."""
        return self.path.stem if self.clip is None else f"{self.path.stem}#{self.clip.id}"

    def __str__(self) -> str:
        if self.clip is None:
            return self.path.name
        said = f" ({self.clip.label})" if self.clip.label else ""
        return f"{self.path.name} from {self.clip.seconds[0]:g} s to {self.clip.seconds[1]:g} s{said}"


def choose_attempts(
    paths: Iterable[Path], outcomes: Collection[str] = (), clips: bool = False
) -> tuple[list[Attempt], dict[str, str]]:
    """Those that came out so, all without any ``outcomes``; with ``clips``, the ranges of their reviews.

    The second: file → why nobody can say what came of it, for recordings and reviews that cannot be read. Raises
    ConfigurationError for an evaluation's log that cannot be.
    """
    chosen, broken = list[Attempt](), dict[str, str]()
    trials = dict[Path, Mapping[str, Trial]]()
    for path in paths:
        folder = path.parent
        if folder not in trials:
            trials[folder] = trials_of(folder)
        try:
            found = _attempt(path, trials[folder].get(path.name))
        except RecordingFailed as error:
            broken[path.name] = error.text
            continue
        if outcomes and found.outcome not in outcomes:
            continue
        ranges = sorted(found.review.clips, key=lambda clip: clip.at)
        chosen += [replace(found, clip=clip) for clip in ranges] if clips else [found]
    return chosen, broken


def _attempt(path: Path, trial: Trial | None) -> Attempt:
    review, seen = read_review(path), glance(path)
    began = seen.about.get("wall_time")
    began = float(began) if isinstance(began, int | float) else 0.0
    if review.outcome is not None:
        return Attempt(path, review, began, review.outcome, review.score)
    if trial is not None:
        return Attempt(path, review, began, trial.outcome, trial.score)
    outcomes: dict[Any, TrialOutcome] = {True: "success", False: "fail"}
    return Attempt(path, review, began, outcomes.get(seen.outcome.get("success")))
