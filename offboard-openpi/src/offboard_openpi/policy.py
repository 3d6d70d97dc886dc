"""openpi's policy, wherever it runs. openpi keeps nothing of an episode, so neither does a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from offboard_core.types import Chunk, Health, InferContext, Policy, Session

from .checks import Checks


class Backing(Protocol):
    """What answers: a child of ours, or a server that ran before us."""

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """openpi's reply to one observation, or an OffboardError."""
        ...

    def health(self) -> Health:
        """As :meth:`Policy.health`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class OpenPISession(Session):
    """One episode; openpi itself has no such thing."""

    def __init__(self, policy: OpenPIPolicy) -> None:
        self._policy = policy

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        """See :meth:`Session.infer`. (T, D) as openpi unnormalised it, float64."""
        return self._policy.ask(inputs)


class OpenPIPolicy(Policy[OpenPISession]):
    """Checks what goes in and what comes out. openpi answers one observation at a time: it does not batch."""

    def __init__(self, backing: Backing, checks: Checks, meta: Mapping[str, Any]) -> None:
        self._backing = backing
        self._checks = checks
        self.meta = dict(meta)

    def new_session(self, params: Any) -> OpenPISession:
        """See :meth:`Policy.new_session`."""
        return OpenPISession(self)

    def ask(self, inputs: Mapping[str, Any]) -> Chunk:
        """One inference. Raises BadObservation, InvalidAction, and what the backing raises."""
        reply = self._backing.infer(self._checks.inputs(inputs))
        return Chunk(self._checks.meant(self._checks.actions(reply)))

    def health(self) -> Health:
        """See :meth:`Policy.health`."""
        return self._backing.health()

    def close(self) -> None:
        """See :meth:`Policy.close`."""
        self._backing.close()
