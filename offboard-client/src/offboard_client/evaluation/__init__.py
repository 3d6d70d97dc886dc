"""Trials of models, which of them is better as far as the evidence goes, and how that is reported."""

from __future__ import annotations

from .betting import fixed_interval, mean_interval
from .comparison import Comparison, compare_models
from .log import TrialLog
from .plan import Plan, Turn
from .trials import COUNTED, MEASURES, OUTCOMES, Measure, Trial, TrialOutcome, pairs

__all__ = [
    "COUNTED",
    "MEASURES",
    "OUTCOMES",
    "Comparison",
    "Measure",
    "Plan",
    "Trial",
    "TrialLog",
    "TrialOutcome",
    "Turn",
    "compare_models",
    "fixed_interval",
    "mean_interval",
    "pairs",
]
