"""What an arm does when answers do not come, rung by rung."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import ConfigurationError
from .observer import Rung


@dataclass(frozen=True)
class Patience:
    """How long an arm holds still, once it has moved, until more is done about it."""

    safe_after: float = 2.0
    """Seconds without an answer after which the robot's safe action is played, where it has one."""
    fault_after: float = 10.0
    """Seconds without an answer after which it is a fault, that only a person clears."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value: Any = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 86400:
                raise ConfigurationError(f"{each.name} is {value!r:.40}; expected seconds above 0")
        if self.fault_after < self.safe_after:
            raise ConfigurationError(
                f"fault_after ({self.fault_after:g} s) comes before safe_after ({self.safe_after:g} s): "
                "the safe action would never be played"
            )


class Ladder:
    """Which rung the arm is on: it is told the time, and knows no robot.

    Until the arm has moved for the first time, or an answer has failed, it only holds: what a policy does before its
    first answer may take long, and has limits of its own.
    """

    def __init__(self, patience: Patience, has_safe_action: bool) -> None:
        self._patience, self._has_safe_action = patience, has_safe_action
        self._begun = self._plays = False
        self._since: float | None = None
        self._fault = False

    @property
    def held(self) -> float | None:
        """Since when it has held still; None while it plays."""
        return self._since

    def left(self, now: float) -> float | None:
        """Seconds that are left of the patience, where the arm has nothing to play; None where it plays.

        Counted for an arm that has only held so far, too, which is on no rung: since then, or since it was let go on.
        """
        if self._plays:
            return None
        return max(0.0, self._patience.fault_after - (0.0 if self._since is None else now - self._since))

    def rung(self, now: float, *, playable: bool, overdue: bool) -> Rung:
        """``playable``: there is something valid to play. ``overdue``: and nothing new though it should be there."""
        if self._fault:
            return "fault"
        self._plays = playable
        if playable:
            self._begun, self._since = True, None
            return "rest" if overdue else "playing"
        self._since = now if self._since is None else self._since
        if not self._begun:
            return "hold"
        waited = now - self._since
        if waited >= self._patience.fault_after:
            self._fault = True
            return "fault"
        return "safe_action" if self._has_safe_action and waited >= self._patience.safe_after else "hold"

    def failed(self) -> None:
        """An answer has failed: from now on it counts how long the arm waits."""
        if not self._begun:
            self._begun, self._since = True, None

    def clear(self) -> None:
        """A person has cleared the fault, or somebody asked for a hold: the arm begins anew."""
        self._begun = self._plays = self._fault = False
        self._since = None
