"""The numbers of an evaluation: of each model, of each two of them, and of every trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from .betting import fixed_interval, mean_interval
from .comparison import Comparison, compare_models
from .plan import Plan, masked
from .trials import Trial

Interval = tuple[float, float]


@dataclass(frozen=True)
class ModelSummary:
    """What one model came to.

    ``trials``: how many count; ``outcomes``: of all, those that do not count too. ``rate``: of successes, with an
    ``interval`` that holds at every look and a ``fixed_interval`` for a number of trials that was fixed before.
    ``score``: the mean, with its interval at every look; None if nothing was scored in part. ``tags``: in how many of
    the trials that count. ``seconds_to_success``, ``steps``: of each success, of each trial that counts.
    ``stages_ms``: by stage the median of the trials' medians and the worst of their p99. ``rungs_s``: seconds on each
    rung, of the trials that count. ``items``: how many things were done, and of how many, in the trials of which both
    were said.
    """

    model: str
    trials: int
    outcomes: Mapping[str, int]
    rate: float | None
    interval: Interval
    fixed_interval: Interval
    score: float | None
    score_interval: Interval | None
    tags: Mapping[str, int]
    seconds_to_success: tuple[float, ...]
    steps: tuple[int, ...]
    stages_ms: Mapping[str, tuple[float, float]]
    rungs_s: Mapping[str, float]
    items: tuple[int, int] = (0, 0)

    @property
    def successes(self) -> int:
        """How many trials did all of the task."""
        return self.outcomes.get("success", 0)


@dataclass(frozen=True)
class EvaluationReport:
    """All that is reported, under the names that are shown.

    ``comparisons``: () without a plan, for a verdict needs one. ``trials``: in the order in which they ended.
    ``starts``: in their order. ``left``: trials of the plan that were not played. ``level``: of verdicts and intervals.
    ``labels``: label → model of an evaluation that was blind. ``facts``: what was evaluated, with what, as texts.
    ``recordings``: the folder with the trials' recordings, as seen from where the report lies; "" if there is none.
    ``ended``: why it ended before its plan, in words. ``revealed``: how many trials of a blind evaluation there were
    when which model is which was first told; None: it was not.
    """

    title: str
    models: tuple[ModelSummary, ...]
    comparisons: tuple[Comparison, ...]
    trials: tuple[Trial, ...]
    starts: tuple[int, ...]
    left: int
    level: float
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    recordings: str = ""
    ended: str = ""
    revealed: int | None = None

    @property
    def scored(self) -> bool:
        """Whether anything was scored in part."""
        return any(model.score is not None for model in self.models)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data, with each verdict in words."""
        values = asdict(self)
        for comparison, said in zip(values["comparisons"], self.comparisons, strict=True):
            comparison["words"] = said.words()
        values["trials"] = [trial.as_dict() for trial in self.trials]
        return values


def summarize(
    trials: Sequence[Trial],
    plan: Plan | None = None,
    *,
    title: str = "Evaluation",
    facts: Mapping[str, str] | None = None,
    reveal: bool = True,
    recordings: str = "",
    ended: str = "",
    revealed: int | None = None,
) -> EvaluationReport:
    """The report on these trials.

    ``plan``: None for trials that nobody planned, as recordings that were scored afterwards: they have numbers and
    intervals, and no verdicts. ``reveal``: False while a blind evaluation goes on: models stand under their labels.
    ``recordings``, ``ended``, ``revealed``: as of :class:`EvaluationReport`.
    """
    level = 0.05 if plan is None else plan.level
    labels = plan.labels if plan is not None and plan.blind else {}
    if not reveal and labels:
        shown = {model: label for label, model in labels.items()}
        mask = masked(shown)  # what an error says may name its model
        trials = [replace(t, model=shown[t.model], recording="", note=mask(t.note)) for t in trials]
        ended = mask(ended)
        models, labels = sorted(labels, key=lambda label: (len(label), label)), {}
    else:
        models = list(plan.models) if plan is not None else list(dict.fromkeys(trial.model for trial in trials))
    scored = any(trial.counted and trial.score is not None for trial in trials)
    return EvaluationReport(
        title=title,
        models=tuple(_summary(model, trials, level, scored) for model in models),
        comparisons=()
        if plan is None
        else tuple(
            compare_models(trials, models, plan.planned, starts=plan.starts, measure=plan.measure, level=plan.level)
        ),
        trials=tuple(trials),
        starts=tuple(dict.fromkeys(trial.start for trial in trials)) if plan is None else plan.starts,
        left=0
        if plan is None
        else len(plan.turns) - len({(t.model, t.start) for t in trials if t.outcome != "annulled"}),
        level=level,
        labels=labels,
        facts=dict(facts or {}),
        recordings=recordings,
        ended=ended,
        revealed=revealed if labels else None,
    )


def _summary(model: str, trials: Sequence[Trial], level: float, scored: bool) -> ModelSummary:
    all_of_it = [trial for trial in trials if trial.model == model]
    # Of a start that was played twice, as after an error, what counts is what comparisons take: the last.
    kept = list({trial.start: trial for trial in all_of_it if trial.counted}.values())
    won = [trial.value("success") for trial in kept]
    scores = [trial.value("score") for trial in kept]
    stages: dict[str, list[tuple[float, float]]] = {}
    items = [(t.items, t.items_total) for t in kept if t.items is not None and t.items_total is not None]
    rungs: dict[str, float] = {}
    for trial in kept:
        for stage, times in trial.stages_ms.items():
            stages.setdefault(stage, []).append(times)
        for rung, seconds in trial.rungs_s.items():
            rungs[rung] = rungs.get(rung, 0.0) + seconds
    return ModelSummary(
        model=model,
        trials=len(kept),
        outcomes=dict(Counter[str](trial.outcome for trial in all_of_it)),
        rate=float(np.mean(won)) if won else None,
        interval=mean_interval(won, level),
        fixed_interval=fixed_interval(round(sum(won)), len(won), level),
        score=float(np.mean(scores)) if scored and scores else None,
        score_interval=mean_interval(scores, level) if scored and scores else None,
        tags=dict(Counter(tag for trial in kept for tag in dict.fromkeys(trial.tags)).most_common()),
        seconds_to_success=tuple(t.seconds for t in kept if t.outcome == "success" and t.seconds is not None),
        steps=tuple(trial.steps for trial in kept if trial.steps is not None),
        stages_ms={
            stage: (float(np.median([p50 for p50, _ in times])), max(p99 for _, p99 in times))
            for stage, times in stages.items()
        },
        rungs_s=rungs,
        items=(sum(done for done, _ in items), sum(total for _, total in items)),
    )
