"""GR00T's policy, wherever it runs. Its server keeps nothing of an episode, so neither does a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offboard_core.process import AttachedServer, ChildServer
from offboard_core.types import Chunk, Elsewhere, Health, InferContext, Policy, Session

from .checks import AnotherModel, Checks
from .connection import Connection

#: A child of ours, or a server that ran before us.
Server = ChildServer[Connection] | AttachedServer[Connection]


class GR00TSession(Session):
    """One episode. GR00T's own ``reset`` is never sent: one model serves all sessions, and it does nothing there."""

    def __init__(self, policy: GR00TPolicy) -> None:
        self._policy = policy

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        """See :meth:`Session.infer`. ``action.GROUP`` (T, D) float32, in the units of the training data."""
        return self._policy.ask(inputs, context)


class GR00TPolicy(Policy[GR00TSession]):
    """Checks what goes in and what comes out. Robots are asked for one at a time: the server has one socket."""

    def __init__(self, server: Server, checks: Checks, timeout: float, meta: Mapping[str, Any]) -> None:
        """``timeout``: seconds for one inference. ``meta``: facts of the loader's, besides those of ``checks``."""
        self._server, self._checks, self._timeout = server, checks, timeout
        self.history_steps = checks.history_steps
        self.history_kept = bool(checks.history_steps)
        self.context = frozenset({"history"} if checks.history_steps else ())
        self.meta = {**_facts(checks), **meta}

    def new_session(self, params: Any) -> GR00TSession:
        """See :meth:`Policy.new_session`."""
        return GR00TSession(self)

    def ask(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        """One inference. Raises BadObservation, InvalidAction, and what the server's ``ask`` raises."""
        given = self._checks.inputs(inputs, context.history)
        reply = self._server.ask(lambda connection: connection.get_action(given, self._timeout))
        try:
            return Chunk(self._checks.columns(reply))
        except AnotherModel as error:
            if isinstance(self._server, AttachedServer):  # whose restart with another model is nobody's here to see
                self._server.lose(f"{error.text}, as before: another model is served there now")
            raise

    def health(self) -> Health:
        """See :meth:`Policy.health`."""
        return self._server.health()

    def elsewhere(self) -> Elsewhere | None:
        """See :meth:`Policy.elsewhere`: GR00T's own process; None for one that was started by others."""
        return self._server.elsewhere()

    def close(self) -> None:
        """See :meth:`Policy.close`."""
        self._server.close()


def _facts(checks: Checks) -> dict[str, Any]:
    """What the handshake says of the model itself."""
    modalities = checks.modalities
    facts: dict[str, Any] = {
        "chunk_length": modalities.horizon,
        "cameras": list(modalities.video),
        "state_groups": list(modalities.state),
        "action_groups": list(modalities.action),
    }
    if modalities.kinds:
        facts["action_configs"] = {name: kind.said for name, kind in modalities.kinds.items()}
    if checks.history_steps:
        facts["frames"] = {"video": list(modalities.frames), "state": list(modalities.state_frames)}
    return facts
