"""What a host of this server's own is to a session, in place of ASGI's messages."""

from __future__ import annotations

from typing import Any, Protocol

from ...engine import Loan
from .. import Frame, Scope
from .session_protocol import SessionProtocol

#: The extension of a WebSocket's ASGI scope under which a host offers it.
CARRIER = "offboard.carrier"


class Carrier(Protocol):
    """One accepted WebSocket that hands what comes straight to its session, and sends what that says.

    ASGI's way takes two tasks, a queue and a dict for each message: half of what a small exchange costs a server.
    """

    def say(self, frame: Frame) -> None:
        """Send it; :data:`~offboard_core.engine.SAID` was sent already.

        For :class:`SessionProtocol`, whose ``pause_writing`` may be called from within.
        """
        ...

    def lend(self) -> Loan | None:
        """The right to say the next answer, for the model's thread; None while there is something else to be sent.

        It calls :meth:`SessionProtocol.said` before it tells of what comes next, where it was said.
        """
        ...

    def end(self, code: int, reason: str) -> None:
        """Close, after what was said; likewise."""
        ...

    async def carry(self, session: SessionProtocol, *, views: bool) -> None:
        """Tell ``session`` of all that comes, first of what came already; until the connection ends, or is closed.

        ``views``: large messages may be read-only views of memory that is theirs, which saves a copy.
        """
        ...


def carrier_of(scope: Scope) -> Carrier | None:
    """The one that this scope's host offers, if it does."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    return extensions.get(CARRIER)
