"""Evaluations that never took place, of models whose rates are known, and what tests of a fixed size would need."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from offboard_client.evaluation import Comparison, Trial, compare_models

MODELS = ("a", "b", "c", "d")


def successes(
    generator: np.random.Generator, rates: Sequence[float], together: float, starts: int
) -> NDArray[np.bool_]:
    """Shape (starts, models), independent from start to start.

    ``together``: the share of starts whose luck is the same for all models; below 0 every second one has the opposite.
    """
    luck = generator.random((starts, 1))
    turned = np.arange(len(rates)) % 2 if together < 0 else np.zeros(len(rates))
    shared = np.where(turned, 1 - luck, luck)
    alone = generator.random((starts, len(rates)))
    return np.where(generator.random((starts, 1)) < abs(together), shared, alone) < np.asarray(rates)


@functools.cache
def _trial(model: str, start: int, success: bool) -> Trial:
    return Trial(model, start, "success" if success else "fail")


def trials(came: NDArray[np.bool_]) -> list[Trial]:
    """The same as trials: from each start, every model."""
    return [_trial(MODELS[i], start, bool(value)) for start, row in enumerate(came) for i, value in enumerate(row)]


def verdicts(came: NDArray[np.bool_], planned: int) -> list[Comparison]:
    """What is said of them at the end. A verdict stays what it was when it was given, so all looks are in it."""
    return compare_models(trials(came), MODELS[: came.shape[1]], planned, ahead=False)


def false_verdicts(seed: int, rates: Sequence[float], together: float, runs: int, *, planned: int, starts: int) -> int:
    """In how many of so many evaluations some verdict is false."""
    generator = np.random.default_rng(seed)
    rate = dict(zip(MODELS, rates, strict=False))
    found = 0
    for _ in range(runs):
        said = verdicts(successes(generator, rates, together, starts), planned)
        found += any(each.better is not None and rate[each.better] <= rate[each.worse or ""] for each in said)
    return found


def most(runs: int, level: float = 0.05) -> int:
    """How many of so many evaluations may have a false verdict: the level and three standard errors."""
    return math.floor(runs * level + 3 * math.sqrt(runs * level * (1 - level)))


def stopped(seed: int, rates: tuple[float, float], together: float, runs: int, planned: int) -> tuple[float, float]:
    """The mean number of starts until the verdict or the end of the plan, and how often the verdict was right."""
    generator = np.random.default_rng(seed)
    needed: list[int] = []
    right = 0
    for _ in range(runs):
        [said] = verdicts(successes(generator, rates, together, planned), planned)
        needed.append(said.after or planned)
        right += said.better == MODELS[int(np.argmax(rates))]
    return float(np.mean(needed)), right / runs


def plan_for(power: float, rates: tuple[float, float], together: float, runs: int) -> tuple[int, float]:
    """The smallest plan whose verdict is right so often, and the mean number of starts it takes."""
    low, high = 8, 160
    while low < high:
        middle = (low + high) // 2
        if stopped(1, rates, together, runs, middle)[1] >= power:
            high = middle
        else:
            low = middle + 1
    return low, stopped(2, rates, together, runs, low)[0]


def scores(generator: np.random.Generator, mean: float, spread: float, starts: int) -> NDArray[np.float64]:
    """Shape (starts,), from 0 to 1, with this mean and standard deviation (a beta distribution)."""
    both = mean * (1 - mean) / spread**2 - 1
    return generator.beta(mean * both, (1 - mean) * both, starts)


def scored(came: NDArray[np.float64]) -> list[Trial]:
    """Scores as trials: shape (starts, models)."""
    return [Trial(MODELS[i], s, "partial", score=float(x)) for s, row in enumerate(came) for i, x in enumerate(row)]


def stopped_by_scores(seed: int, means: tuple[float, float], spread: float, runs: int) -> float:
    """The mean number of starts until the verdict on scores."""
    generator = np.random.default_rng(seed)
    needed: list[int] = []
    for _ in range(runs):
        came = np.stack([scores(generator, mean, spread, 300) for mean in means], axis=1)
        [said] = compare_models(scored(came), ("a", "b"), 50, measure="score", ahead=False)
        needed.append(said.after or 300)
    return float(np.mean(needed))


# ---- tests of a fixed size


def binomial(n: int, rate: float) -> NDArray[np.float64]:
    """The probability of 0, 1, … n successes."""
    k = np.arange(n + 1)
    ways = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    return np.exp(ways + k * math.log(rate) + (n - k) * math.log1p(-rate))


def fisher(n: int) -> NDArray[np.float64]:
    """Two-sided p-values of Fisher's exact test, by the successes of two models in n trials each."""
    ways = binomial(n, 0.5)
    values = np.ones((n + 1, n + 1))
    for total in range(2 * n + 1):
        first = np.arange(max(0, total - n), min(n, total) + 1)
        chance = ways[first] * ways[total - first]
        chance /= chance.sum()
        for i, x in enumerate(first):
            values[x, total - x] = chance[chance <= chance[i] * (1 + 1e-9)].sum()
    return values


def barnard(n: int) -> NDArray[np.float64]:
    """The same of Barnard's, with the pooled Wald statistic."""
    x, y = np.arange(n + 1)[:, None] / n, np.arange(n + 1)[None, :] / n
    pooled = (x + y) / 2
    statistic = np.round(np.abs(x - y) / np.sqrt(np.maximum(2 * pooled * (1 - pooled) / n, 1e-12)), 9).ravel()
    order = np.argsort(-statistic, kind="stable")
    last = np.searchsorted(-statistic[order], -statistic[order], side="right") - 1
    values = np.zeros(statistic.size)
    for rate in np.linspace(0.005, 0.995, 199):
        chance = binomial(n, rate)
        values = np.maximum(values, np.cumsum(np.outer(chance, chance).ravel()[order])[last])
    found = np.empty_like(values)
    found[order] = values
    return found.reshape(n + 1, n + 1)


def fixed_size(p_values: Callable[[int], NDArray[np.float64]], power: float, rates: tuple[float, float]) -> int:
    """From how many trials of each model on the test at 5 % finds the difference so often, and never less often."""
    needed = 0
    for n in range(10, 76):
        found = np.outer(binomial(n, rates[0]), binomial(n, rates[1]))[p_values(n) <= 0.05].sum()
        needed = needed if needed and found >= power else n if found >= power else 0
    return needed
