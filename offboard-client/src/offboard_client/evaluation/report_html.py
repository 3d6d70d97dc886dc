"""A report as one HTML page, with nothing to fetch and no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote

from ..errors import counted
from .comparison import Comparison
from .report import EvaluationReport
from .report_plots import SIGNS, bar, dots, lead, shown, span, starts_table
from .report_text import blind_words, detail_tables, percent, said_of_it, success_columns, success_row


def as_html(report: EvaluationReport) -> str:
    """The page. Whatever was typed or sent stands there as text."""
    style = Path(__file__).with_name("report.css").read_text("utf-8")
    body = "".join(_sections(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{shown(report.title)}</title><style>\n{style}</style></head>\n<body>\n{body}</body></html>\n"
    )


def _sections(report: EvaluationReport) -> Iterable[str]:
    yield f"<h1>{shown(report.title)}</h1>\n<p>{shown(said_of_it(report))}</p>\n"
    if report.labels:
        yield f"<p>{shown(blind_words(report))}</p>\n"
    if report.comparisons:
        yield "<h2>Verdicts</h2>\n" + "".join(_verdict(each) for each in report.comparisons)
    yield "<h2>Success</h2>\n" + _success(report)
    if report.scored:
        yield "<h2>Partial scores</h2>\n" + _scores(report)
    yield "<h2>The same starts</h2>\n" + starts_table(report) + _key(report)
    yield from _details(report)
    yield "<h2>Trials</h2>\n" + _trials(report)
    if report.facts:
        yield "<h2>What was evaluated</h2>\n" + _table(("", ""), list(report.facts.items()))


def _verdict(each: Comparison) -> str:
    decided = " decided" if each.better is not None else ""
    return f'<div class="verdict{decided}"><p>{shown(each.words())}</p>{_pairs(each) if each.pairs else ""}</div>\n'


def _pairs(each: Comparison) -> str:
    even = each.pairs - each.wins - each.losses
    ahead = "only {}" if each.measure == "success" else "{} more"
    parts = [
        ("won", each.wins, ahead.format(each.first)),
        ("even", even, "alike"),
        ("lost", each.losses, ahead.format(each.second)),
    ]
    drawn = bar((kind, count / each.pairs, f"{said}: {count}") for kind, count, said in parts)
    scale = "".join(f"<span>{shown(said)}: {count}</span>" for _, count, said in parts)
    if not each.bound:
        return f'{drawn}<div class="scale">{scale}</div>'
    dashed = "; dashed: what decides" if any(each.bound) else ""
    ends = f"<span>lead of {shown(each.first)}{dashed}</span><span>{counted(each.pairs, 'start')}</span>"
    return f'{drawn}<div class="scale">{scale}</div>{lead(each)}<div class="scale">{ends}</div>'


def _rows(rows: Iterable[tuple[str, str, str]], ends: tuple[str, str]) -> str:
    """Name, plot and text of each, above a scale."""
    drawn = "".join(
        f'<div class="row"><div class="name">{shown(name)}</div><div class="plot">{plot}</div>'
        f'<div class="text">{shown(text)}</div></div>\n'
        for name, plot, text in rows
    )
    scale = "".join(f"<span>{shown(end)}</span>" for end in ends)
    return f'{drawn}<div class="row"><div class="plot scale">{scale}</div></div>\n'


def _success(report: EvaluationReport) -> str:
    rows = [
        (m.model, span(m.rate, m.interval, m.fixed_interval), f"{m.successes} of {m.trials}: {percent(m.interval)}")
        for m in report.models
    ]
    sure = f"{100 * (1 - report.level):g} %"
    said = (
        f"Wide: the interval that holds however often one looks ({sure}). Narrow: that for a number of trials that was "
        "fixed before. Intervals may overlap where the verdict is clear: it uses that the starts were the same."
    )
    table = _table(success_columns(report), [success_row(report, model) for model in report.models])
    return f'{_rows(rows, ("0 %", "100 %"))}<p class="faint">{said}</p>\n{table}'


def _scores(report: EvaluationReport) -> str:
    rows: list[tuple[str, str, str]] = []
    for model in report.models:
        values = [trial.value("score") for trial in report.trials if trial.model == model.model and trial.counted]
        said = "" if model.score is None else f"mean {model.score:.2f}"
        rows += [(model.model, dots(values, 1.0, model.score, model.score_interval), said)]
    return _rows(rows, ("0", "1"))


def _key(report: EvaluationReport) -> str:
    kinds = [kind for kind in SIGNS if any(kind in model.outcomes for model in report.models)]
    items = "".join(f'<li><i class="{kind}">{SIGNS[kind]}</i>{kind}</li>' for kind in kinds)
    return f'<ul class="key">{items}</ul>\n'


def _details(report: EvaluationReport) -> Iterable[str]:
    plots = {"Failure modes": _tags, "Time and steps": _times, "Where the time went": _rungs}
    for title, columns, rows in detail_tables(report):
        plot = plots[title](report) if title in plots else ""
        # The bars of failure modes say all that the table would.
        yield f"<h2>{shown(title)}</h2>\n{plot}{'' if title == 'Failure modes' else _table(columns, rows)}"


def _tags(report: EvaluationReport) -> str:
    tags = list(dict.fromkeys(tag for model in report.models for tag in model.tags))
    rows = [
        (tag if i == 0 else "", bar([("tag", count / model.trials, tag)]), f"{count} of {model.trials} {model.model}")
        for tag in tags
        for i, model in enumerate(each for each in report.models if each.trials)
        for count in [model.tags.get(tag, 0)]
    ]
    return _rows(rows, ("0 %", "100 % of trials"))


def _times(report: EvaluationReport) -> str:
    longest = max((value for model in report.models for value in model.seconds_to_success), default=0.0)
    if not longest:
        return ""
    rows = [
        (m.model, dots(m.seconds_to_success, longest), f"{len(m.seconds_to_success)} successes") for m in report.models
    ]
    return _rows(rows, ("0 s", f"{longest:.1f} s"))


def _rungs(report: EvaluationReport) -> str:
    rungs = list(dict.fromkeys(rung for model in report.models for rung in model.rungs_s))
    rows: list[tuple[str, str, str]] = []
    for model in report.models:
        if whole := sum(model.rungs_s.values()):
            parts = [(f"r{min(i, 5)}", model.rungs_s.get(r, 0.0) / whole, r) for i, r in enumerate(rungs)]
            rows += [(model.model, bar((k, share, f"{r}: {share:.0%}") for k, share, r in parts), f"{whole:.0f} s")]
    return _rows(rows, ("0 %", "100 %"))


def _trials(report: EvaluationReport) -> str:
    heads = ("", "model", "start", "outcome", "score", "seconds", "steps", "tags", "note", "recording")
    rows = [
        (
            str(number), trial.model, str(trial.start), trial.came,
            "" if trial.score is None else f"{trial.score:.2f}",
            "" if trial.seconds is None else f"{trial.seconds:.1f}",
            "" if trial.steps is None else str(trial.steps),
            ", ".join(trial.tags), trial.note, trial.recording,
        )
        for number, trial in enumerate(report.trials, 1)
    ]  # fmt: skip
    places = [quote(trial.recording, "", errors="replace") if report.recordings else "" for trial in report.trials]
    table = _table(heads, rows, [f"{report.recordings}/{place}" if place else "" for place in places])
    return f"<details><summary>{len(rows)} trials, as they ended</summary>{table}</details>\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], links: Sequence[str] = ()) -> str:
    """``links``: where the first cell of each row leads; "" or absent: nowhere."""
    head = "".join(f'<th scope="col">{shown(column)}</th>' for column in columns)
    note = columns.index("note") if "note" in columns else -1
    body = ""
    for row, link in zip_longest(rows, links, fillvalue=""):
        cells = [shown(cell) for cell in row]
        if link:
            cells[0] = f'<a href="{shown(link)}">{cells[0]}</a>'
        body += (
            "<tr>" + "".join(f"<td{' class=note' * (i == note)}>{cell}</td>" for i, cell in enumerate(cells)) + "</tr>"
        )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n'
