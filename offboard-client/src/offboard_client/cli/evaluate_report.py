"""The end of ``offboard evaluate``: what came of it at the terminal, and its report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, OffboardError, counted, told
from ..evaluation import (
    DECIDED,
    ERRORS,
    Evaluation,
    EvaluationReport,
    Trial,
    as_csv,
    as_html,
    as_json,
    as_markdown,
    reviewed,
    said_of_it,
    success_columns,
    success_row,
    summarize,
    told_apart,
)
from ..terminal import emit_table, note, say, tell
from .evaluate_options import EvaluateOptions, ServersModels, write_whole
from .run_options import Parsed

REPORT, RECORDINGS = "report", "recordings"
#: Users and passwords of URLs, which are nobody's who is sent a report.
_USER = re.compile(r"(?<=//)[^/@\s]*@")


@dataclass
class Ending:
    """What is said and written when no more is played now."""

    folder: Path
    evaluation: Evaluation
    options: EvaluateOptions
    parsed: Parsed[EvaluateOptions]
    policy: ServersModels
    policies: Mapping[str, Mapping[str, str]]
    mask: Callable[[str], str]

    def tell(self, why: str | None, failed: OffboardError | None) -> bool:
        """Say it and write the report; whether the evaluation is over. ``why``: it ended before its plan.

        Raises ``failed``, which has ended it, and ConfigurationError where the report cannot be written, when all else
        was said.
        """
        log = self.evaluation.log
        plan = log.plan
        trials, said = reviewed(log.trials, self.folder / RECORDINGS, lambda text: note(self.mask(text)))
        left, unplayed = plan.left(log.trials, again=True), plan.left(log.trials)
        # As the report has it: what people said of the recordings meanwhile counts.
        decided = bool(self.options.until == "decided" and left and told_apart(self.evaluation.comparisons()))
        why = why if failed is None else failed.text
        why = DECIDED if decided else why if left and why != DECIDED else None
        counting = {trial.model for trial in trials if trial.counted}
        # What has failed so far is played again, blind; but a model that never came to anything hides no other.
        reveal = decided or not (unplayed or any(turn.model in counting for turn in left))
        unwritten = self._told_names() if reveal and plan.blind else None
        reveal = reveal and unwritten is None
        facts = self._facts(trials, reveal) | ({"scored afterwards": said} if said else {})
        report = summarize(
            trials, plan, title=f"Evaluation of {len(plan.models)} models", facts=facts, reveal=reveal,
            recordings=RECORDINGS, ended=why or "", revealed=log.revealed,
        )  # fmt: skip
        self._show(report)
        unwritten = self._write(report) or unwritten
        if why is not None and failed is None:
            note(f"ended before the plan: {why if reveal else self.mask(why)}")
        if decided:
            note(f"{counted(len(left), 'trial')} not played; without --until decided the same command plays the rest")
        elif left:
            errors = len(left) - len(unplayed)
            again = f", {errors} of which ended by an error" if errors else ""
            note(f"{counted(len(left), 'trial')} left{again}; the same command goes on from here")
        if unwritten is not None:
            unwritten += f". The trials are kept in {log.path}: with that mended, the same command writes the report"
            if failed is None:
                raise ConfigurationError(unwritten)
            note(unwritten)
        if failed is not None:
            raise failed
        return decided or not left

    # -- inside ----------------------------------------------------------------------------------------
    def _told_names(self) -> str | None:
        """Write down that names were told from here on; why that failed, and then they are not."""
        try:
            self.evaluation.log.reveal()
        except OSError as error:
            return f"{self.evaluation.log.path}: it cannot be written: {error.strerror or told(error)}"
        return None

    def _show(self, report: EvaluationReport) -> None:
        if self.policy.json:
            say(as_json(report).replace("\n", ""))
            return
        tell(said_of_it(report))
        emit_table(success_columns(report), [success_row(report, model) for model in report.models])
        for comparison in report.comparisons:
            tell(comparison.words())
        for label, model in report.labels.items():
            tell(f"{label} was {model}")

    def _write(self, report: EvaluationReport) -> str | None:
        """The report's files; why that failed."""
        texts = {"md": as_markdown, "json": as_json, "csv": as_csv, "html": as_html}
        try:
            for suffix, write in texts.items():
                write_whole(self.folder / f"{REPORT}.{suffix}", write(report))
        except ConfigurationError as error:
            return error.text
        if not self.policy.json:
            tell(f"the report is {self.folder / REPORT}.html")
        return None

    def _facts(self, trials: Sequence[Trial], reveal: bool) -> dict[str, str]:
        plan = self.evaluation.log.plan
        starts = f"{len(plan.starts)}, seeds {plan.starts[0]} to {plan.starts[-1]}"
        if plan.planned != len(plan.starts):
            starts += f"; {plan.planned} were planned at first"
        limits = self.parsed.limits
        given_up = ", ".join(self.evaluation.given_up)
        given = {
            "server": self.policy.server.rpartition("@")[2], "robot": str(self.parsed.robot),
            "the robot's options": _options(self.parsed.options), "task": self.options.task or "the robot's own",
            "starts": starts, "seconds of a trial": f"{self.options.seconds:g}",
            "answers become": self.options.playing.chunks, "limits": _options(limits.limits),
            "limits of the file": "" if limits.file is None else str(limits.file),
            "played": _span([trial.at for trial in trials if trial.at is not None]),
            "offboard-client": version("offboard-client"),
            f"given up after {ERRORS} errors in a row": given_up if reveal else self.mask(given_up),
        }  # fmt: skip
        # A codec tells which model it is.
        served = {f"served as {model}": _said(policy) for model, policy in self.policies.items() if reveal}
        return {name: text for name, text in (given | served).items() if text}


def _options(options: Any) -> str:
    """``clock=lockstep, camera_rate=10.0``; nothing of what is not set."""
    if not is_dataclass(options):
        return ""
    return _USER.sub("", _said({each.name: getattr(options, each.name) for each in fields(options)}))


def _said(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if value is not None)


def _span(times: Sequence[float]) -> str:
    """When trials ended, from the first to the last."""
    if not times:
        return ""
    first, last = (datetime.fromtimestamp(at, timezone.utc) for at in (min(times), max(times)))
    end = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M} to {end} UTC"
