"""Which attempts become training data: those that came out so, and of them the ranges that were cut out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, RecordingFailed, counted
from ..evaluation import (
    ITS_OWN,
    LOG,
    Clip,
    Review,
    Trial,
    TrialOutcome,
    as_played,
    log_of,
    read_review,
    trials_of,
)
from ..recording import KILLED, Episode, glance

#: A folder of an evaluation has them in one of its own.
_RECORDINGS = "recordings"
#: Why a recording ended before its episode did.
_CUT = (RecordingFailed.code, KILLED["failure"][0])


@dataclass(frozen=True)
class Attempt:
    """A recording, or a range of one.

    ``outcome``, ``score``: what came of it, None where nobody can tell: what a person said of the recording, else of
    the trial as it was played, else what the robot's own task did. A trial that was annulled or ended by an error stays
    that whatever was said of its recording, as in the report; so does an episode that a robot or a connection ended.
    ``review``: all that people said of it. ``began``: seconds since 1970, when it was recorded; with the name it says
    which one it is.
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


def recordings_in(source: Path) -> list[Path]:
    """The recordings of a folder, or of an evaluation's, in order; or the one that ``source`` is.

    Raises ConfigurationError where there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ConfigurationError(f"{source} is neither a folder of recordings nor one of them")
    paths = [path for folder in (source, source / _RECORDINGS) for path in sorted(folder.glob("*.mcap"))]
    if not paths:
        raise ConfigurationError(f"{source} has no recording: `offboard run --output-dir` makes them, NAME.mcap")
    if twice := [name for name, count in Counter(path.name for path in paths).items() if count > 1]:
        raise ConfigurationError(
            f"{twice[0]} is in {source} and in its {_RECORDINGS}: what becomes of both would be called the same; "
            "export each folder by itself"
        )
    return paths


def choose_attempts(
    paths: Iterable[Path],
    outcomes: Collection[str] = (),
    clips: bool = False,
    left_out: Callable[[str], None] = lambda text: None,
    passed: Counter[str] | None = None,
) -> tuple[list[Attempt], dict[str, str]]:
    """Those that came out so, all without any ``outcomes``; with ``clips``, the ranges of their reviews.

    A recording whose end is missing is not taken for what came of its trial, which is not seen in it; a person who
    looked at the recording may say it.

    Of an annulled trial nothing is taken; ``left_out`` is told, in words, of what would be for what was said of its
    recording, and of all annulled ones where no ``outcomes`` are given. Nor is anything taken of a trial whose log is
    not found, which may have been annulled: where the recording was copied, or is named beside its evaluation.
    ``passed`` counts by the reason what is not taken: ``annulled``, ``error``, ``another_outcome``, ``cut_short``,
    ``evaluation_not_found``, ``no_clip``.

    The second: file → why nobody can say what came of it, for recordings and reviews that cannot be read. Raises
    ConfigurationError for an evaluation's log that cannot be.
    """
    chosen, broken = list[Attempt](), dict[str, str]()
    passed = Counter[str]() if passed is None else passed
    trials = dict[Path, Mapping[str, Trial]]()
    for path in paths:
        played = as_played(path)
        folder = played.parent
        if folder not in trials:
            trials[folder] = trials_of(folder)
        try:
            trial = trials[folder].get(played.name)
            found, said, cut, lost = _attempt(path, trial)
        except RecordingFailed as error:
            broken[path.name] = error.text
            continue
        if lost and not log_of(folder).is_file():
            passed["evaluation_not_found"] += 1
            left_out(
                f"{path.name} is left out: it is of a trial whose evaluation is not found, and may have been annulled: "
                f"name the evaluation's own folder, or put its {LOG} beside the folder of the recordings"
            )
            continue
        if trial is not None and not trial.counted and (said in outcomes if outcomes else trial.outcome == "annulled"):
            came = "was annulled" if trial.outcome == "annulled" else "ended by an error"
            so = f" as {said}" if said in outcomes else ""
            left_out(f"{path.name} is left out: its trial {came}, and counts{so} in no report")
        if found.outcome == "annulled" or (outcomes and found.outcome not in outcomes):
            passed[found.outcome if found.outcome in ("annulled", "error") else "another_outcome"] += 1
            continue
        if outcomes and cut and said is None and not clips:
            passed["cut_short"] += 1
            left_out(f"{path.name} is left out: it ends before its trial did, of which {found.outcome} was said")
            continue
        ranges = sorted(found.review.clips, key=lambda clip: clip.at)
        passed["no_clip"] += clips and not ranges
        chosen += [replace(found, clip=clip) for clip in ranges] if clips else [found]
    return chosen, broken


def unfinished(episode: Episode) -> str | None:
    """What is said of a recording that has no end: what is taken is what it has by now. None for one that has."""
    if episode.finished:
        return None
    why = "its run was killed, its disk was full, or it is still being copied"
    if episode.lost:
        why = f"it has a hole, and {counted(episode.lost, 'byte')} from there on are lost"
    seconds = (episode.end - episode.start) / 1e9
    return f"{episode.path.name} has no end: {why}. What it has until {seconds:.1f} s is taken"


def _attempt(path: Path, trial: Trial | None) -> tuple[Attempt, TrialOutcome | None, bool, bool]:
    """The second: what was said of the recording, whether it counts or not. The third: whether its end is missing. The
    last: whether it says that it is of a trial, and ``trial`` is None."""
    review, seen = read_review(path), glance(path)
    failure = seen.outcome.get("failure")
    cut = bool(failure) and failure[0] in _CUT
    run = seen.about.get("run")
    lost = trial is None and isinstance(run, dict) and "trial" in run
    began = seen.about.get("wall_time")
    began = float(began) if isinstance(began, int | float) else 0.0
    if trial is not None and not trial.counted:
        return Attempt(path, review, began, trial.outcome), review.outcome, cut, lost
    if review.outcome is not None:
        return Attempt(path, review, began, review.outcome, review.score), review.outcome, cut, lost
    if trial is not None:
        return Attempt(path, review, began, trial.outcome, trial.score), None, cut, lost
    outcomes: dict[Any, TrialOutcome] = {True: "success", False: "fail"}
    came = outcomes.get(seen.outcome.get("success"))
    if (
        came == "fail" and failure and failure[0] not in ITS_OWN
    ):  # of the robot or the connection, which says nothing of the model
        came = "error"
    return Attempt(path, review, began, came), None, cut, lost
