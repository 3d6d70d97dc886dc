"""Means of numbers from 0 to 1, judged after every one of them: what somebody would have won by betting on the mean.

Whoever bets that a mean is above m, at stakes fixed before each number is seen, does not get richer in expectation if
it is not. By Ville's inequality the fortune then ever reaches 1/a with a probability of at most a: for any numbers
between 0 and 1, and however long it goes on. (Shafer 2021; Waudby-Smith and Ramdas 2024.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Stakes, as shares of the highest with which nobody can lose more than there is. A fortune is divided among them, the
#: more the higher: for scores that differ little from trial to trial the highest are best.
_STAKES = (np.arange(32) + 0.5) / 32
_DIVIDED = _STAKES / _STAKES.sum()
#: Halvings of the range in which an interval's end is looked for.
_HALVINGS = 24


def fortunes(values: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """The logarithm of what betting on a mean above ``mean`` has made of 1, after each of ``values``.

    ``values``: shape (n,), from 0 to 1. Returns shape (n,).
    """
    won = np.cumsum(np.log1p(_STAKES[:, None] * (values - mean) / mean), axis=1)
    highest = won.max(axis=0)
    return highest + np.log(_DIVIDED @ np.exp(won - highest))


def exceeds(values: NDArray[np.float64], mean: float, level: float) -> int | None:
    """The index of the number with which a mean above ``mean`` was shown; None where it was not.

    ``level``: how likely that is, at most, if the mean is not above.
    """
    shown = np.flatnonzero(fortunes(values, mean) >= -math.log(level))
    return int(shown[0]) if len(shown) else None


def mean_interval(values: Sequence[float], level: float = 0.05) -> tuple[float, float]:
    """Where the mean of such numbers is, from 0 to 1: an interval that holds at every look (a confidence sequence).

    With a probability of at least ``1 - level`` the mean is within all the intervals that come of these numbers as more
    come in, at once. Their order does not matter. (0, 1) where there are none.
    """
    given = np.asarray(values, dtype=np.float64)
    return _lowest(given, level / 2), 1 - _lowest(1 - given, level / 2)


def _lowest(values: NDArray[np.float64], level: float) -> float:
    """The highest mean of which it was shown that the true one is above, or somewhat less."""
    low, high = 0.0, 1.0
    if not len(values) or not values.any():
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if fortunes(values, middle)[-1] < -math.log(level):
            high = middle
        else:
            low = middle
    return low


def fixed_interval(successes: int, trials: int, level: float = 0.05) -> tuple[float, float]:
    """Clopper and Pearson's interval of a rate, for a number of trials fixed beforehand and one look at the end."""
    return _fixed_low(successes, trials, level / 2), 1 - _fixed_low(trials - successes, trials, level / 2)


def _fixed_low(successes: int, trials: int, level: float) -> float:
    if not successes:
        return 0.0
    k = np.arange(successes, trials + 1)
    ways = np.array([math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in k])
    low, high = 0.0, 1.0
    for _ in range(2 * _HALVINGS):
        rate = (low + high) / 2
        # So many successes or more, if this were the rate; at 1 nothing else can be.
        tail = np.exp(ways + k * math.log(rate) + (trials - k) * math.log1p(-rate)).sum() if rate < 1 else 1.0
        low, high = (low, rate) if tail > level else (rate, high)
    return low


def more_numbers(values: NDArray[np.float64], mean: float, level: float) -> int | None:
    """About how many more numbers like these show a mean above ``mean``; None: they do not look like it."""
    if not len(values):
        return None
    growth = float(np.log1p(_STAKES[:, None] * (values - mean) / mean).mean(axis=1).max())
    if growth <= 0:
        return None
    return max(1, math.ceil((-math.log(level) - float(fortunes(values, mean)[-1])) / growth))
