"""Trials of models, which of them is better as far as the evidence goes, and how that is reported."""

from __future__ import annotations

from .betting import fixed_interval, mean_interval
from .comparison import Comparison, compare_models
from .log import TrialLog
from .measured import measured_trial
from .plan import Plan, Turn
from .report import EvaluationReport, ModelSummary, summarize
from .report_html import as_html
from .report_text import as_csv, as_json, as_markdown
from .trials import COUNTED, MEASURES, OUTCOMES, Measure, Trial, TrialOutcome, pairs

__all__ = [
    "COUNTED",
    "MEASURES",
    "OUTCOMES",
    "Comparison",
    "EvaluationReport",
    "Measure",
    "ModelSummary",
    "Plan",
    "Trial",
    "TrialLog",
    "TrialOutcome",
    "Turn",
    "as_csv",
    "as_html",
    "as_json",
    "as_markdown",
    "compare_models",
    "fixed_interval",
    "mean_interval",
    "measured_trial",
    "pairs",
    "summarize",
]
