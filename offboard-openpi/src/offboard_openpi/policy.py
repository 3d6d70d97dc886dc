"""openpi's policy, wherever it runs. openpi keeps nothing of an episode, so neither does a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offboard_core.process import AttachedServer, ChildServer
from offboard_core.types import Chunk, Elsewhere, Health, InferContext, Policy, Session

from .checks import Checks
from .connection import Connection

#: A child of ours, or a server that ran before us.
Server = ChildServer[Connection] | AttachedServer[Connection]


class OpenPISession(Session):
    """One episode; openpi itself has no such thing."""

    def __init__(self, policy: OpenPIPolicy) -> None:
        self._policy = policy

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        """See :meth:`Session.infer`. (T, D) as openpi unnormalised it, float64."""
        return self._policy.ask(inputs)


class OpenPIPolicy(Policy[OpenPISession]):
    """Checks what goes in and what comes out. openpi answers one observation at a time: it does not batch."""

    def __init__(self, server: Server, checks: Checks, timeout: float, meta: Mapping[str, Any]) -> None:
        """``timeout``: seconds for one inference."""
        self._server, self._checks, self._timeout = server, checks, timeout
        self.meta = dict(meta)

    def new_session(self, params: Any) -> OpenPISession:
        """See :meth:`Policy.new_session`."""
        return OpenPISession(self)

    def ask(self, inputs: Mapping[str, Any]) -> Chunk:
        """One inference. Raises BadObservation, InvalidAction, and what the server's ``ask`` raises."""
        given = self._checks.inputs(inputs)
        reply = self._server.ask(lambda connection: connection.ask(given, self._timeout))
        return Chunk(self._checks.meant(self._checks.actions(reply)))

    def health(self) -> Health:
        """See :meth:`Policy.health`."""
        return self._server.health()

    def elsewhere(self) -> Elsewhere | None:
        """See :meth:`Policy.elsewhere`: openpi's own process; None for one that was started by others."""
        return self._server.elsewhere()

    def close(self) -> None:
        """See :meth:`Policy.close`."""
        self._server.close()
