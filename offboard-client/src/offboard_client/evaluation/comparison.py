"""Which of several models is better, by what all of them came to from the same starts, and how that is said."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadParameter, counted
from .betting import exceeds, more_numbers
from .trials import Measure, Trial, pairs
from .walk import MAX_STEPS, boundary, crossing, more_pairs

#: Fewer pairs say nothing of how it goes on.
_ENOUGH = 5
#: How far ahead is looked for a verdict, in pairs: what would take longer is not worth a number.
_FAR = 10


@dataclass(frozen=True)
class Comparison:
    """Two models on the same starts.

    ``pairs``: starts that both were tried from. ``wins``, ``losses``: where the first, or the second, did better.
    ``means``: of both, on these starts, by ``measure``. ``better``: the verdict; None: it is not decided. ``after``:
    the pair with which it was. ``level``: how often an evaluation as a whole has a false verdict, at most. ``more``:
    about how many more pairs decide, if it goes on like this; None: more than ten times what was planned, or they look
    alike. ``lead``: after each pair, wins minus losses, or the sum of the differences of scores. ``bound``: the lead
    that decides then, either way, where one can; () for scores.
    """

    first: str
    second: str
    measure: Measure
    pairs: int
    wins: int
    losses: int
    means: tuple[float, float]
    better: str | None
    after: int | None
    level: float
    more: int | None
    lead: tuple[float, ...] = ()
    bound: tuple[int | None, ...] = ()

    @property
    def worse(self) -> str | None:
        """The other one."""
        return None if self.better is None else self.second if self.better == self.first else self.first

    def words(self) -> str:
        """The verdict, on what it rests, and how much it can be trusted; or what it would take."""
        told = (self.wins, self.losses) if self.better != self.second else (self.losses, self.wins)
        means = self.means if self.better != self.second else self.means[::-1]
        if self.better is not None:
            return (
                f"{self.better} is better than {self.worse}: {self._share(means[0])} against {self._share(means[1])} "
                f"from the same starts (only {self.better} {self._did} {told[0]} times, only {self.worse} {told[1]}). "
                f"Valid at every look: by chance alone, a false verdict comes up in at most "
                f"{100 * self.level:g} % of evaluations."
            )
        if not self.pairs:
            return f"{self.first} and {self.second}: not decided, for from no start trials of both count."
        known = (
            f"{self.first} and {self.second}: not decided; {self._share(means[0])} against {self._share(means[1])} "
            f"from the same starts (only {self.first} {self._did} {self.wins} times, only {self.second} {self.losses})."
        )
        if self.pairs < _ENOUGH:
            return known
        if self.more is None:
            return f"{known} If it goes on like this, {_FAR} times as many starts as planned would not tell them apart."
        return f"{known} If it goes on like this, about {counted(self.more, 'more start')} would be needed."

    @property
    def _did(self) -> str:
        return "succeeded" if self.measure == "success" else "scored more"

    def _share(self, mean: float) -> str:
        if self.measure == "score":
            return f"a mean score of {mean:.2f}"
        return f"{round(mean * self.pairs)} of {self.pairs}"


def compare_models(
    trials: Iterable[Trial],
    models: Sequence[str],
    planned: int,
    *,
    starts: Sequence[int] | None = None,
    measure: Measure = "success",
    level: float = 0.05,
    ahead: bool = True,
) -> list[Comparison]:
    """Every model with every other, valid at every look: it may be called after each trial, and any verdict be final.

    ``planned``: how many starts were planned before the first trial; verdicts hold beyond it, too. ``starts``: their
    order; trials count up to the first that is still to be played, so that verdicts do not depend on which trial ended
    first. None: in the order in which pairs became complete. ``level``: how likely *any* of the verdicts is false, at
    most. What was decided stays so as trials from further starts are added. ``ahead``: whether ``more`` is looked for,
    which takes longest.

    Raises BadParameter.
    """
    if len(set(models)) != len(models):
        raise BadParameter(f"each model is named once, not as in {', '.join(models)}")
    if planned < 1 or not 0 < level < 1:
        raise BadParameter(f"planned is at least 1 and level between 0 and 1, not {planned} and {level}")
    trials = list(trials)
    tests = [
        _Test(a, b, _values(trials, a, b, starts, measure), planned, measure)
        for a, b in itertools.combinations(models, 2)
    ]
    # Holm's procedure: each pair has two hypotheses, "not better" and "not worse", and so many are left to be refuted.
    # A verdict holds at all the levels that can still come, so that it would also have come later.
    levels = [level / (2 * len(tests) - refuted) for refuted in range(len(tests))]
    decided: dict[int, tuple[int, int]] = {}
    judged = levels[:1] * len(tests)
    while len(decided) < len(tests):
        left = levels[len(decided) :]
        new = [(i, verdict) for i, test in enumerate(tests) if i not in decided and (verdict := test.verdict(left))]
        if not new:
            break
        decided.update(new[:1])
        judged[new[0][0]] = left[0]
    if len(decided) < len(tests):
        judged = [judged[i] if i in decided else levels[len(decided)] for i in range(len(tests))]
    return [test.comparison(level, decided.get(i), judged[i], ahead) for i, test in enumerate(tests)]


def _values(
    trials: Sequence[Trial], first: str, second: str, starts: Sequence[int] | None, measure: Measure
) -> NDArray[np.float64]:
    """Shape (pairs, 2): what both came to."""
    found = [(a.value(measure), b.value(measure)) for a, b in pairs(trials, first, second, starts)]
    return np.array(found, dtype=np.float64).reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class _Test:
    """Two models, before it is known at which level they are judged."""

    first: str
    second: str
    values: NDArray[np.float64]
    planned: int
    measure: Measure

    def verdict(self, levels: Sequence[float]) -> tuple[int, int] | None:
        """The index of the pair that decided, and 1 where the first model is better or -1; at all of these levels."""
        differences = self.values[:, 0] - self.values[:, 1]
        if self.measure == "score":
            shown = [
                (at, sign)
                for sign in (1, -1)
                if (at := exceeds((1 + sign * differences) / 2, 0.5, min(levels))) is not None
            ]
            return min(shown, default=None)
        steps = differences.astype(np.int64)
        crossings = [crossing(steps, self.planned, level) for level in levels]
        found = [each for each in crossings if each is not None]
        if len(found) < len(crossings) or len({sign for _, sign in found}) != 1:
            return None
        return max(found)

    def comparison(self, level: float, verdict: tuple[int, int] | None, judged: float, ahead: bool) -> Comparison:
        differences = self.values[:, 0] - self.values[:, 1]
        wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
        means = self.values.mean(axis=0) if len(self.values) else np.zeros(2)
        return Comparison(
            first=self.first,
            second=self.second,
            measure=self.measure,
            pairs=len(self.values),
            wins=wins,
            losses=losses,
            means=(float(means[0]), float(means[1])),
            better=None if verdict is None else self.first if verdict[1] > 0 else self.second,
            after=None if verdict is None else verdict[0] + 1,
            level=level,
            more=None if verdict is not None or not ahead else self._more(differences, wins, losses, judged),
            lead=tuple(differences.cumsum().tolist()),
            bound=self._bound(differences, judged),
        )

    def _bound(self, differences: NDArray[np.float64], level: float) -> tuple[int | None, ...]:
        if self.measure == "score":
            return ()
        steps = np.minimum((differences != 0).cumsum(), MAX_STEPS)
        needed = boundary(self.planned, level, int(steps[-1])) if len(steps) else steps
        leads = [int(needed[step - 1]) if step else 1 for step in steps]
        return tuple(lead if lead <= step else None for lead, step in zip(leads, steps, strict=True))

    def _more(self, differences: NDArray[np.float64], wins: int, losses: int, level: float) -> int | None:
        if self.measure == "score":
            sign = 1 if differences.sum() > 0 else -1
            more = more_numbers((1 + sign * differences) / 2, 0.5, level)
            return more if more is not None and more <= _FAR * self.planned else None
        if not wins + losses:
            return None
        # Half a win and half a loss beside what was seen: a single win does not mean that all will be.
        won = (wins + 0.5) / (wins + losses + 1)
        decisive = (wins + losses) / len(differences)
        return more_pairs(wins + losses, wins - losses, self.planned, level, decisive, won, _FAR * self.planned)
