"""Trials as people see them who have looked at their recordings afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import OffboardError
from .reviews import Review, read_review
from .trials import Trial


def reviewed(
    trials: Sequence[Trial], recordings: Path, wrong: Callable[[str], None] = lambda text: None
) -> tuple[list[Trial], str]:
    """The trials with what was said of their recordings in that folder, and in words how much of it there was.

    An outcome that somebody has given stands instead of that of the run, but for a trial that does not count: people
    annul those by the evaluation itself. ``score`` is the share of items, where both numbers were said. Failure modes
    and notes come beside those of the trial. ``wrong`` is told of what cannot be taken; that trial is as it was played.
    """
    found: list[Trial] = []
    said = changed = 0
    for trial in trials:
        after = trial
        try:
            known = trial.recording and Path(trial.recording).name == trial.recording
            review = read_review(recordings / trial.recording) if known else Review()
            if review.changed is not None:
                said += 1
                after = _as_said(trial, review)
        except OffboardError as error:
            wrong(f"what was said of {trial.recording} is left out: {error.text}")
        changed += after.outcome != trial.outcome
        found.append(after)
    if not said:
        return found, ""
    return found, f"{said} of {len(trials)}, of which {changed} came out otherwise than the run said"


def _as_said(trial: Trial, review: Review) -> Trial:
    """Raises BadParameter for a part of which nobody has said how large it is."""
    outcome = review.outcome if trial.counted and review.outcome is not None else trial.outcome
    still = outcome in (trial.outcome, "partial")  # what was counted then was counted for that
    score = trial.score if still else None
    counts = (review.items, review.items_total)
    if counts == (None, None) and still:
        counts = (trial.items, trial.items_total)
    return replace(
        trial,
        outcome=outcome,
        score=score if review.score is None else review.score,
        tags=tuple(dict.fromkeys((*trial.tags, *review.tags))),
        note="; ".join(filter(None, (trial.note, review.note))),
        items=counts[0],
        items_total=counts[1],
    )
