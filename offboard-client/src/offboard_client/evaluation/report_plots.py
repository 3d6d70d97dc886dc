"""The plots of a report as SVG without scripts; sizes are percentages, so that text is readable on a phone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ..errors import counted, one_line
from .comparison import Comparison
from .report import EvaluationReport, Interval, ModelSummary
from .trials import Trial

#: What a trial of each outcome looks like in the table of starts; the letter says it to those who see no colours.
SIGNS = {
    "success": "✓", "partial": "◐", "fail": "✗", "stall": "◷", "unsafe": "!", "annulled": "–", "error": "?",
}  # fmt: skip


def shown(text: object) -> str:
    """A text that HTML shows as it is, in a line, or in an attribute."""
    return escape(one_line(str(text)))


def span(value: float | None, wide: Interval, narrow: Interval | None) -> str:
    """A value with its interval on a line from 0 to 1, and a narrower one upon it."""
    parts = ['<line class="axis" x1="0%" x2="100%" y1="11" y2="11"/>']
    parts += [f'<line class="tick" x1="{x}%" x2="{x}%" y1="7" y2="15"/>' for x in (0, 25, 50, 75, 100)]
    parts += [f'<line class="wide" x1="{100 * wide[0]:.2f}%" x2="{100 * wide[1]:.2f}%" y1="11" y2="11"/>']
    if narrow is not None:
        parts += [f'<line class="narrow" x1="{100 * narrow[0]:.2f}%" x2="{100 * narrow[1]:.2f}%" y1="11" y2="11"/>']
    if value is not None:
        parts += [f'<circle class="value" cx="{100 * value:.2f}%" cy="11" r="5"/>']
    return f'<svg class="span" width="100%" height="22" aria-hidden="true">{"".join(parts)}</svg>'


def bar(parts: Iterable[tuple[str, float, str]]) -> str:
    """A bar of parts: the class of each, its share, and what is said of it."""
    drawn: list[str] = []
    before = 0.0
    for kind, share, said in parts:
        drawn += [
            f'<rect class="{kind}" x="{100 * before:.3f}%" width="{100 * share:.3f}%" height="14">'
            f"<title>{shown(said)}</title></rect>"
        ]
        before += share
    return f'<svg class="bar" width="100%" height="14" role="img">{"".join(drawn)}</svg>'


def dots(values: Sequence[float], longest: float, mean: float | None = None, between: Interval | None = None) -> str:
    """Each value as a dot on a line from 0 to ``longest``, the larger the more are there, upon an interval."""
    parts = ['<line class="axis" x1="0%" x2="100%" y1="12" y2="12"/>']
    if between is not None:
        parts += [f'<line class="wide" x1="{100 * between[0]:.2f}%" x2="{100 * between[1]:.2f}%" y1="12" y2="12"/>']
    for place, count in Counter(round(50 * value / longest) if longest else 0 for value in values).items():
        said = f"{longest * place / 50:.2f}: {counted(count, 'trial')}"
        radius = min(11.0, 2 + 2 * math.sqrt(count))
        parts += [f'<circle class="dot" cx="{2 * place}%" cy="12" r="{radius:.1f}"><title>{said}</title></circle>']
    if mean is not None:
        parts += [f'<line class="mean" x1="{100 * mean:.2f}%" x2="{100 * mean:.2f}%" y1="2" y2="22"/>']
    return f'<svg class="span" width="100%" height="24" role="img">{"".join(parts)}</svg>'


def lead(comparison: Comparison) -> str:
    """How far the first was ahead after each pair, between the leads that would have decided."""
    pairs = len(comparison.lead)
    highest = max(1.0, *(abs(value) for value in comparison.lead), *(value for value in comparison.bound if value))

    def line(kind: str, values: Iterable[tuple[int, float]]) -> str:
        points = " ".join(f"{100 * i / pairs:.2f},{50 - 48 * value / highest:.2f}" for i, value in values)
        return f'<polyline class="{kind}" points="{points}"/>'

    # A level stretch for each pair: a single one, with which it was decided, is a line as well.
    bound = [(x, value) for i, value in enumerate(comparison.bound, 1) if value is not None for x in (i - 1, i)]
    drawn = line("axis", [(0, 0.0), (pairs, 0.0)])
    drawn += line("bound", bound) + line("bound", [(i, -value) for i, value in bound])
    drawn += line("way", [(0, 0.0), *enumerate(comparison.lead, 1)])
    return f'<svg class="lead" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def starts_table(report: EvaluationReport) -> str:
    """What every model came to from each start: rows are models, columns are starts."""
    last: dict[tuple[str, int], Trial] = {}
    for trial in report.trials:
        there = last.get((trial.model, trial.start))
        if there is None or trial.counted or not there.counted:
            last[trial.model, trial.start] = trial
    rows = [
        f'<tr><th scope="row">{shown(model.model)}</th>{_cells(report, model, last)}</tr>' for model in report.models
    ]
    return f'<div class="scroll"><table class="starts">{"".join(rows)}</table></div>'


def _cells(report: EvaluationReport, model: ModelSummary, last: Mapping[tuple[str, int], Trial]) -> str:
    cells: list[str] = []
    for start in report.starts:
        trial = last.get((model.model, start))
        if trial is None:
            cells += [f'<td><i title="start {start}: not played"></i></td>']
            continue
        said = f"start {start}: {trial.outcome}" + ("" if trial.score is None else f", score {trial.score:.2f}")
        said += "".join(f", {tag}" for tag in trial.tags)
        cells += [f'<td><i class="{trial.outcome}" title="{shown(said)}">{SIGNS[trial.outcome]}</i></td>']
    return "".join(cells)
