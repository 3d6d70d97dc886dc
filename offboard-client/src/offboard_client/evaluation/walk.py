"""Successes of two models on the same starts, compared after every pair: an exact test of signs with a look after each.

Of two equally good models each is as likely as the other to be the only one that succeeds from a start. So the wins
minus the losses are a fair random walk, whatever the rates are and however the outcomes from one start hang together.
A boundary around it is made step by step, such that the walk has crossed it by the n-th step with at most a given
probability, which is computed exactly.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

#: Of ``planned`` pairs about so many decide something: with independent outcomes it is half of them at most.
_DECISIVE = 0.4
#: What of the level is left for a comparison that goes on beyond its plan.
_RESERVE = 0.1
#: No walk is longer: what comes after decides nothing. It bounds what a boundary costs (0.6 s).
MAX_STEPS = 1 << 12


def crossing(differences: NDArray[np.int64], planned: int, level: float) -> tuple[int, int] | None:
    """Where the boundary was crossed first: the index into ``differences`` and the sign; None where it was not.

    ``differences``: shape (n,), of each pair 1 (only the first succeeded), -1 (only the second) or 0. ``planned``: how
    many pairs were planned before the first was played; it decides where the boundary is narrow, not whether it holds.
    ``level``: how likely two equal models cross it on one side, at most, however many pairs there are.
    """
    steps = np.flatnonzero(differences)[:MAX_STEPS]
    walk = np.cumsum(differences[steps])
    hits = np.flatnonzero(np.abs(walk) >= boundary(planned, level, len(steps))[: len(steps)])
    return (int(steps[hits[0]]), int(np.sign(walk[hits[0]]))) if len(hits) else None


def boundary(planned: int, level: float, steps: int) -> NDArray[np.int64]:
    """How many more wins than losses decide after 1, 2, … steps, for at least so many; more than steps = none does."""
    return _boundary(planned, level, max(64, 1 << max(0, min(steps, MAX_STEPS) - 1).bit_length()))


@functools.lru_cache(maxsize=64)
def _boundary(planned: int, level: float, steps: int) -> NDArray[np.int64]:
    horizon = max(6.0, _DECISIVE * planned)
    n = np.arange(1, steps + 1)
    # Early steps get more than their share: what is clear ends soon.
    allowed = level * np.where(
        n <= horizon, (1 - _RESERVE) * np.sqrt(np.minimum(n / horizon, 1)), 1 - _RESERVE * horizon / n
    )
    needed = n + 1
    # The probability of each place of the walk that has not crossed yet; those of one side mirror the other's.
    places = np.zeros(2 * steps + 3)
    places[steps + 1] = 1.0
    spent = 0.0
    for step in range(1, steps + 1):
        low, high = steps + 1 - step, steps + 2 + step
        places[low:high] = (places[low - 1 : high - 1] + places[low + 1 : high + 1]) / 2
        beyond = np.cumsum(places[high - 1 : steps + 1 : -1])[::-1]  # at 1 or more, 2 or more, …
        within = np.flatnonzero(spent + beyond <= allowed[step - 1])
        if len(within):
            bound = int(within[0]) + 1
            needed[step - 1] = bound = bound + (step - bound) % 2  # where the walk can be after so many steps
            spent += beyond[bound - 1]
            places[steps + 1 + bound :] = places[: steps + 2 - bound] = 0.0
    needed.setflags(write=False)
    return needed


def more_pairs(
    walked: int, place: int, planned: int, level: float, decisive: float, won: float, limit: int
) -> int | None:
    """After how many more pairs half of the walks that go on from here have crossed; None: not within ``limit``.

    ``walked``, ``place``: the steps so far, and wins minus losses. ``decisive``: the share of pairs that are a step.
    ``won``: the share of steps that are a win.
    """
    ahead = min(math.ceil(limit * decisive), MAX_STEPS - walked)
    needed = boundary(planned, level, walked + ahead)
    middle = abs(place) + ahead + 1
    places = np.zeros(2 * middle + 1)
    places[middle + place] = 1.0
    for step in range(walked + 1, walked + ahead + 1):
        moved = np.zeros_like(places)
        moved[1:-1] = won * places[:-2] + (1 - won) * places[2:]
        bound = min(int(needed[step - 1]), middle + 1)
        moved[middle + bound :] = moved[: middle - bound + 1] = 0.0
        places = moved
        if places.sum() <= 0.5:
            return max(1, round((step - walked) / decisive))
    return None
