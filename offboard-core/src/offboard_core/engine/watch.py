"""Asks a loaded policy for its health, and answers for one that raises or says nonsense."""

from __future__ import annotations

import logging
from typing import Any, cast

from offboard_client.errors import one_line, told
from offboard_client.wire import Status

from ..types import Elsewhere, Health, Policy

log = logging.getLogger(__name__)

#: How much of a reason is shown where others wait for it, or look at it again and again.
_SHOWN = 300


class Watch:
    """Asks a policy for its health. ``said``: its last answer; new since ``heard``, its state since ``since``."""

    def __init__(self, label: str, now: float) -> None:
        self.said = Health()
        self.since = self.heard = now
        self._label = label
        self._odd = False

    def ask(self, policy: Policy[Any], now: float) -> Health:
        """What it says now. One that cannot say it is taken for ready: its answers will tell. Never raises."""
        health = self._asked(policy)
        if health != self.said:
            self.heard = now
        changed, self.said = health.state != self.said.state, health
        if changed:
            self.since = now
            if health.state != "failed":  # whoever takes it for lost says so
                log.log(logging.WARNING if health.state == "recovering" else logging.INFO, "%s", self.told())
        return health

    def elsewhere(self, policy: Policy[Any]) -> Elsewhere | None:
        """The process that has the model; None also where that cannot be told. Never raises."""
        try:
            found = cast("object", policy.elsewhere())
            return found if isinstance(found, Elsewhere) else None
        except KeyboardInterrupt:
            raise
        except BaseException:  # a vendor's SystemExit included: this is the event loop
            log.warning("elsewhere() of %s failed", self._label, exc_info=True)
            return None

    def status(self, now: float) -> Status:
        """What whoever waits for its recovery is told."""
        told, seconds = self.told(), now - self.since
        return Status("loading", f"{told} ({seconds:.0f} s so far)", told, seconds)

    def told(self) -> str:
        """What it said last, for people."""
        return f"{self._label} is {self.said.state}" + (f": {shown(self.said.reason)}" if self.said.reason else "")

    def _asked(self, policy: Policy[Any]) -> Health:
        try:
            health = cast("object", policy.health())
            if isinstance(health, Health):
                return health
            problem = f"answered {type(health).__name__}; expected a Health"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a vendor's SystemExit included: this is the event loop
            problem = f"raised {told(error)}"
        if not self._odd:
            self._odd = True
            log.error("health() of %s %s; it is taken for ready", self._label, problem)
        return Health()


def shown(reason: str) -> str:
    """The first line of a reason, for those who look at it again and again."""
    return one_line(str(reason).strip().partition("\n")[0])[:_SHOWN]
