"""Trials in a file, one line each, on disk before the next one begins: what an interrupted evaluation goes on from."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

from ..errors import BadParameter, ConfigurationError, brief
from .plan import Plan
from .trials import Trial

#: What it is called in an evaluation's folder, beside that of its recordings.
LOG = "trials.jsonl"
#: The first line of a log names it.
_FORMAT, _VERSION = "offboard_evaluation", 1
_BEGIN = f'{{"{_FORMAT}"'.encode()
#: No line is longer, in bytes.
_LONGEST = 1 << 20


class TrialLog:
    """The trials of one evaluation in one file of JSON lines, which only grows.

    ``plan``: with the further starts of an earlier part, if it had more. ``trials``: in the order in which they ended;
    those that were annulled afterwards are ``annulled`` here, and ``was`` says what they were. ``dropped``: whether
    the file ended in half a line, which a killed process had left; that trial is played again. ``revealed``: how many
    trials there were when somebody was first told which model is which; None: nobody was, or it is not blind.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        """Begin ``path``, or go on with it if it was begun with such a plan, or with the beginning of it. A log without
        a trial decides nothing, and is begun anew.

        Raises ConfigurationError where it cannot be read or written, is no such log, or is being written by another
        process; BadParameter where it was begun with another plan.
        """
        self.path, self.plan, self.trials, self.dropped = path, plan, list[Trial](), False
        self.revealed: int | None = None
        try:
            self._file = path.open("ab", buffering=0)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: it cannot be written: {error}") from error
        try:
            _take(self._file, path)
            with path.open("rb") as file:
                self._go_on(file, plan)
        except BaseException:
            self._file.close()
            raise

    def append(self, trial: Trial) -> None:
        """A trial more; it is on disk when this returns. Raises BadParameter for one of no plan, or OSError."""
        if trial.model not in self.plan.models or trial.start not in self.plan.starts:
            raise BadParameter(f"there is no trial of {trial.model} from start {trial.start} in this evaluation")
        self._write({"trial": trial.as_dict()})
        self.trials.append(trial)

    def annul(self, index: int, reason: str) -> None:
        """``trials[index]`` is annulled, and so played again. Raises BadParameter, also where it was, or OSError."""
        if not 0 <= index < len(self.trials):
            raise BadParameter(f"there is no trials[{index}]; there are {len(self.trials)}, counted from 0")
        if self.trials[index].outcome == "annulled":
            raise BadParameter(f"trials[{index}] was annulled already: {self.trials[index].note}")
        if not reason.strip():
            raise BadParameter("a trial is annulled for a reason; it is in the report")
        self._write({"annul": index, "reason": reason})
        self._annulled(index, reason)

    def reveal(self) -> None:
        """Somebody is told which model is which: what comes from now on is not blind. Raises OSError."""
        if self.plan.blind and self.revealed is None:
            self._write({"revealed": len(self.trials)})
            self.revealed = len(self.trials)

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()

    def __enter__(self) -> TrialLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _annulled(self, index: int, reason: str) -> None:
        trial = self.trials[index]
        if trial.outcome == "annulled":
            return  # the first reason stands
        if self.revealed is not None:
            reason = f"{reason} (annulled when the models' names were known)"
        note = "; ".join(filter(None, (reason, trial.note)))
        self.trials[index] = replace(trial, outcome="annulled", note=note, was=trial.outcome)

    def _write(self, values: dict[str, Any]) -> None:
        line = (json.dumps(values, allow_nan=False) + "\n").encode()
        if len(line) > _LONGEST:
            raise BadParameter(
                f"a trial takes at most {_LONGEST} bytes in the log, not {len(line)}; say less in its note"
            )
        whole = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError:
            # A disk that was full for a moment leaves no half a line for the next trial to be written behind.
            with contextlib.suppress(OSError):
                self._file.truncate(whole)
            raise

    def _go_on(self, file: BinaryIO, plan: Plan) -> None:
        begun: Plan | None = None
        number = whole = 0
        while line := file.readline(_LONGEST + 1):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) > _LONGEST:
                    raise self._wrong(number, f"it is longer than {_LONGEST} bytes")
                if begun is None and not line.startswith(_BEGIN) and not _BEGIN.startswith(line):
                    raise self._wrong(number, f"this is no log of an evaluation: {brief(line)}")
                self.dropped = True
                break
            whole += len(line)
            try:
                begun = self._read(json.loads(line), begun)
            except (BadParameter, ValueError, RecursionError) as error:
                raise self._wrong(number, str(error)) from None
        if self.dropped:
            self._file.truncate(whole)
        if begun is None or (not self.trials and begun != plan):
            # A mistyped name that no model answers to must not claim the folder for ever.
            self._file.truncate(0)
            self._write({_FORMAT: _VERSION, "plan": plan.as_dict()})
            return
        self.plan = begun if plan.starts == begun.starts[: len(plan.starts)] else begun.extended(plan)
        self.plan.extended(replace(plan, starts=self.plan.starts))
        if self.plan != begun:
            self._write({"plan": self.plan.as_dict()})

    def _read(self, line: object, begun: Plan | None) -> Plan:
        """One line; the plan as it is from there on."""
        values = cast("dict[str, Any]", line) if isinstance(line, dict) else {}
        if begun is None:
            if values.get(_FORMAT) != _VERSION:
                raise BadParameter(f"this is no log of an evaluation in form {_VERSION}: {brief(values)}")
            return Plan.from_dict(values.get("plan"))
        if "trial" in values:
            self.trials.append(Trial.from_dict(values["trial"]))
        elif "plan" in values:
            return begun.extended(Plan.from_dict(values["plan"]))
        elif type(index := values.get("annul")) is int and 0 <= index < len(self.trials):
            self._annulled(index, str(values.get("reason")))
        elif type(shown := values.get("revealed")) is int and shown == len(self.trials):
            self.revealed = shown if self.revealed is None else self.revealed
        else:
            raise BadParameter(f"this is no trial: {brief(line)}")
        return begun

    def _wrong(self, number: int, why: str) -> ConfigurationError:
        return ConfigurationError(f"{self.path}, line {number}: {why}. Mend it, or begin in another folder")


def read_trials(path: Path) -> list[Trial]:
    """The trials of a log that another process may be writing; nothing is written. Raises ConfigurationError."""
    return _read_only(path)[0].trials


def hidden_models(path: Path) -> dict[str, str]:
    """Model → label, as long as the evaluation of this log is blind and nobody was told which model is which; else {}.

    Raises ConfigurationError.
    """
    log, plan = _read_only(path)
    # Versions before this one did not write down that they had told it, in the end.
    if plan is None or not plan.blind or log.revealed is not None or not plan.left(log.trials, again=True):
        return {}
    return {model: label for label, model in plan.labels.items()}


def _read_only(path: Path) -> tuple[TrialLog, Plan | None]:
    log = TrialLog.__new__(TrialLog)
    log.path, log.trials, log.dropped, log.revealed = path, list[Trial](), False, None
    begun: Plan | None = None
    try:
        with path.open("rb") as file:
            number = 0
            while (line := file.readline(_LONGEST + 1)).endswith(b"\n"):
                number += 1
                try:
                    begun = log._read(json.loads(line), begun)  # pyright: ignore[reportPrivateUsage]
                except (BadParameter, ValueError, RecursionError) as error:
                    raise log._wrong(number, str(error)) from None  # pyright: ignore[reportPrivateUsage]
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be read: {error.strerror}") from error
    return log, begun


def trials_of(recordings: Path) -> dict[str, Trial]:
    """What came of each recording of a folder when it was played, by its name; {} for a folder of no evaluation.

    Raises ConfigurationError for a log that cannot be read.
    """
    path = log_of(recordings)
    return {trial.recording: trial for trial in read_trials(path) if trial.recording} if path.is_file() else {}


def log_of(recordings: Path) -> Path:
    """Where the log of an evaluation is, whose recordings are in this folder, or in what it is a link to."""
    named = recordings.absolute()  # "." is in no folder by its name
    if named.name == "..":
        named = named.resolve()
    log, real = named.parent / LOG, named.resolve().parent / LOG
    # The folder of an evaluation may itself be a link to where there is room.
    return real if real.is_file() and not log.is_file() else log


def as_played(recording: Path) -> Path:
    """A recording as its evaluation knows it: what it is a link to, where that is among an evaluation's."""
    real = recording.resolve() if recording.is_symlink() else recording
    return real if log_of(real.parent).is_file() else recording


def _take(file: BinaryIO, path: Path) -> None:
    """Raises ConfigurationError while another process has the log open."""
    try:
        import fcntl
    except ImportError:  # Windows: whoever starts two runs into one folder is not told
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigurationError(
            f"{path}: another process writes this evaluation; wait for it, or begin in another folder"
        ) from None
