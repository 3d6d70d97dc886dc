"""Trials of models, which of them is better as far as the evidence goes, and how that is reported."""

from __future__ import annotations

from .betting import fixed_interval, mean_interval
from .comparison import Comparison, compare_models
from .log import LOG, TrialLog, as_played, hidden_models, log_of, read_trials, trials_of
from .measured import ITS_OWN, measured_trial
from .plan import Plan, Turn, masked
from .report import EvaluationReport, ModelSummary, summarize
from .report_html import as_html
from .report_text import as_csv, as_json, as_markdown, said_of_it, success_columns, success_row
from .reviewed import reviewed
from .reviews import Clip, Review, edit_review, read_review, review_path, revise
from .running import DECIDED, ERRORS, Evaluation, told_apart
from .station import Judgement, Station, Watched
from .trials import COUNTED, MEASURES, OUTCOMES, Measure, Trial, TrialOutcome, pairs

__all__ = [
    "COUNTED",
    "DECIDED",
    "ERRORS",
    "ITS_OWN",
    "LOG",
    "MEASURES",
    "OUTCOMES",
    "Clip",
    "Comparison",
    "Evaluation",
    "EvaluationReport",
    "Judgement",
    "Measure",
    "ModelSummary",
    "Plan",
    "Review",
    "Station",
    "Trial",
    "TrialLog",
    "TrialOutcome",
    "Turn",
    "Watched",
    "as_csv",
    "as_html",
    "as_json",
    "as_markdown",
    "as_played",
    "compare_models",
    "edit_review",
    "fixed_interval",
    "hidden_models",
    "log_of",
    "masked",
    "mean_interval",
    "measured_trial",
    "pairs",
    "read_review",
    "read_trials",
    "review_path",
    "reviewed",
    "revise",
    "said_of_it",
    "success_columns",
    "success_row",
    "summarize",
    "told_apart",
    "trials_of",
]
