"""A report as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import cell, counted, one_line
from .report import EvaluationReport, Interval, ModelSummary

#: What a trial is in a CSV file, one line each.
_COLUMNS = (
    "number",
    "model",
    "start",
    "outcome",
    "score",
    "seconds",
    "steps",
    "tags",
    "note",
    "recording",
    "at",
    "items",
    "items_total",
    "was",
)


def as_json(report: EvaluationReport) -> str:
    """All of it as one JSON object."""
    return json.dumps(report.as_dict(), indent=1, allow_nan=False) + "\n"


def as_csv(report: EvaluationReport) -> str:
    """The trials, a line each; ``number`` counts from 1 in the order in which they ended."""
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    stages = list(dict.fromkeys(stage for trial in report.trials for stage in trial.stages_ms))
    rungs = list(dict.fromkeys(rung for trial in report.trials for rung in trial.rungs_s))
    names = [f"{stage}_{p}_ms" for stage in stages for p in ("p50", "p99")] + [f"{rung}_s" for rung in rungs]
    lines.writerow([cell(name) for name in (*_COLUMNS, *names)])
    for number, trial in enumerate(report.trials, 1):
        texts = (
            trial.model,
            trial.start,
            trial.outcome,
            trial.score,
            trial.seconds,
            trial.steps,
            ", ".join(trial.tags),
        )
        times = [value for stage in stages for value in trial.stages_ms.get(stage, (None, None))]
        seconds = [trial.rungs_s.get(rung) for rung in rungs]
        values = (
            number,
            *texts,
            trial.note,
            trial.recording,
            trial.at,
            trial.items,
            trial.items_total,
            trial.was,
            *times,
            *seconds,
        )
        lines.writerow([cell(value) if isinstance(value, str) else value for value in values])
    return file.getvalue()


def as_markdown(report: EvaluationReport) -> str:
    """Verdicts in words, then tables."""
    parts = [f"# {_md(report.title)}", *_head(report)]
    if report.comparisons:
        parts += ["## Verdicts", "\n".join(f"- {_md(each.words())}" for each in report.comparisons)]
    parts += ["## Success", _table(success_columns(report), (success_row(report, model) for model in report.models))]
    for title, columns, rows in detail_tables(report):
        parts += [f"## {title}", _table(columns, rows)]
    odd = [
        (str(i), trial.model, str(trial.start), trial.came, ", ".join(trial.tags), trial.note)
        for i, trial in enumerate(report.trials, 1)
        if trial.note or trial.outcome in ("annulled", "error", "unsafe")
    ]
    if odd:
        parts += ["## Notes", _table(("trial", "model", "start", "outcome", "tags", "note"), odd)]
    return "\n\n".join(parts) + "\n"


def _head(report: EvaluationReport) -> Iterable[str]:
    yield said_of_it(report)
    if report.labels:
        yield _md(blind_words(report))
    if report.facts:
        yield _table(("", ""), [(name, text) for name, text in report.facts.items()])


def said_of_it(report: EvaluationReport) -> str:
    """How many trials it is about, in a sentence."""
    kinds = {kind: sum(model.outcomes.get(kind, 0) for model in report.models) for kind in ("annulled", "error")}
    said = f"{counted(len(report.trials), 'trial')} of {counted(len(report.models), 'model')}"
    if kinds["annulled"]:
        said += f", {kinds['annulled']} of them annulled"
    if kinds["error"]:
        said += f", {kinds['error']} ended by an error and not counted"
    if not report.left:
        return f"{said}."
    return f"{said}; {report.left} of the plan not played" + (f": {report.ended}." if report.ended else ".")


def blind_words(report: EvaluationReport) -> str:
    """Which label was which model, and from which trial on that was known."""
    said = "It was blind: " + ", ".join(f"{label} was {model}" for label, model in report.labels.items()) + "."
    if report.revealed is not None and report.revealed < len(report.trials):
        said += f" From trial {report.revealed + 1} on it was not, for that was known by then."
    return said


def success_columns(report: EvaluationReport) -> Sequence[str]:
    """The heads of :func:`success_row`."""
    sure = f"{100 * (1 - report.level):g} %"
    score = ("mean score", f"{sure} at every look") if report.scored else ()
    return ("model", "successes", "rate", f"{sure} at every look", f"{sure} if the number was fixed", *score)


def success_row(report: EvaluationReport, model: ModelSummary) -> Sequence[str]:
    """A model's rate, and its mean score if anything was scored in part."""
    row = [model.model, f"{model.successes} of {model.trials}"]
    row += ["-" if model.rate is None else f"{model.rate:.0%}", percent(model.interval), percent(model.fixed_interval)]
    if report.scored:
        between = model.score_interval
        row += ["-" if model.score is None else f"{model.score:.2f}"]
        row += ["-" if between is None else f"{between[0]:.2f} to {between[1]:.2f}"]
    return row


def detail_tables(report: EvaluationReport) -> Iterable[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, heads and rows of what else was measured; nothing of what was not."""
    models = report.models
    kinds = list(dict.fromkeys(kind for model in models for kind in model.outcomes))
    yield "Outcomes", ("model", *kinds), [(m.model, *(str(m.outcomes.get(k, 0)) for k in kinds)) for m in models]
    if before := list(dict.fromkeys(trial.was for trial in report.trials if trial.was)):
        rows = [
            (m.model, *(str(sum(t.model == m.model and t.was == was for t in report.trials)) for was in before))
            for m in models
        ]
        yield "Annulled afterwards, by what they were", ("model", *before), rows
    if tags := list(dict.fromkeys(tag for model in models for tag in model.tags)):
        rows = [(tag, *(f"{m.tags.get(tag, 0)} of {m.trials}" for m in models)) for tag in tags]
        yield "Failure modes", ("", *(m.model for m in models)), rows
    if any(m.items[1] for m in models):
        rows = [(m.model, *_items(*m.items)) for m in models]
        yield "Items", ("model", "done", "of", "share"), rows
    if any(m.steps or m.seconds_to_success for m in models):
        rows = [(m.model, *_spread(m.seconds_to_success, ".1f", " s"), *_spread(m.steps, ".0f", "")) for m in models]
        heads = ("time to success, median", "from, to", "steps, median", "from, to")
        yield "Time and steps", ("model", *heads), rows
    if stages := list(dict.fromkeys(stage for model in models for stage in model.stages_ms)):
        rows = [(stage, *(_stage(m.stages_ms.get(stage)) for m in models)) for stage in stages]
        yield "Round trips by stage, ms: median, worst p99 of a trial", ("", *(m.model for m in models)), rows
    if rungs := list(dict.fromkeys(rung for model in models for rung in model.rungs_s)):
        rows = [(rung, *(_rung(m, rung) for m in models)) for rung in rungs]
        yield "Where the time went", ("", *(m.model for m in models)), rows


def _items(done: int, total: int) -> tuple[str, str, str]:
    return (str(done), str(total), f"{done / total:.0%}") if total else ("-", "-", "-")


def _spread(values: Sequence[float], form: str, unit: str) -> tuple[str, str]:
    if not values:
        return "-", "-"
    return f"{np.median(values):{form}}{unit}", f"{min(values):{form}} to {max(values):{form}}{unit}"


def _stage(times: Interval | None) -> str:
    return "-" if times is None else f"{times[0]:.1f}, {times[1]:.1f}"


def _rung(model: ModelSummary, rung: str) -> str:
    seconds, whole = model.rungs_s.get(rung, 0.0), sum(model.rungs_s.values())
    return f"{seconds:.1f} s, {seconds / whole:.0%}" if whole else "-"


def percent(between: Interval) -> str:
    """``53 to 99 %``."""
    return f"{100 * between[0]:.0f} to {100 * between[1]:.0f} %"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_md(cell) if cell != "---" else cell for cell in line) + " |" for line in lines)


def _md(text: str) -> str:
    """A text that Markdown shows as it is, in a line or in a cell of a table."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", one_line(text)).replace("&", "&amp;").replace("<", "&lt;")
