"""How long an answer takes, as far as that can be said beforehand."""

from __future__ import annotations

from collections import deque

import numpy as np

#: Of so many answers, the newest.
WINDOW = 50
#: So many of them are in time. The slowest of all says what went wrong once, and not when the next one comes.
QUANTILE = 0.95
#: So few say nothing of how much answers differ.
FEW = 5


class RoundTrips:
    """The lead with which a policy has to be asked: a quantile of what its newest answers took.

    The first answer of a session is left out: a model that compiles or a link that wakes up takes long once.
    """

    def __init__(self, window: int = WINDOW, quantile: float = QUANTILE) -> None:
        self._took: deque[float] = deque(maxlen=window)
        self._quantile = quantile
        self._warm = False

    def took(self, seconds: float) -> None:
        """An answer came so long after its observation was taken."""
        if self._warm:
            self._took.append(seconds)
        self._warm = True

    def cold(self) -> None:
        """The next answer is the first of a session."""
        self._warm = False

    @property
    def lead(self) -> float | None:
        """Seconds in which an answer is to be expected; None as long as nothing is known.

        Never the longest that was measured, but where only one was.
        """
        if not self._took:
            return None
        return float(np.quantile(np.fromiter(self._took, np.float64), self._quantile, method="lower"))

    @property
    def early(self) -> float | None:
        """How many seconds before its answer is needed a policy is asked; None as long as too little is known.

        Who asks as early as answers are to be expected waits for one of twenty: so as much earlier as they differ.
        """
        lead = self.lead
        return None if lead is None or len(self._took) < FEW else lead + (lead - min(self._took))
