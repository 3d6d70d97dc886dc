"""How much of something a client may do in a second."""

from __future__ import annotations


class Bucket:
    """A bucket of tokens that holds ``rate`` and gains as many a second."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = self._tokens = rate
        self._now = now

    def refill(self, now: float) -> None:
        """It is ``now`` (s)."""
        self._tokens = min(self._rate, self._tokens + (now - self._now) * self._rate)
        self._now = now

    def spend(self, now: float) -> bool:
        """Take a token. False if there is none."""
        self.refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """One of those that were taken does not count."""
        self._tokens += 1
