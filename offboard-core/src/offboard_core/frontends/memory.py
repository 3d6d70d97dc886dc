"""What a host of this server's own has for a client on the same machine: memory that its messages may lie in."""

from __future__ import annotations

from typing import Any, Protocol

from offboard_client.memory import MemoryOffer

from .base import Scope

#: The extension of a WebSocket's ASGI scope under which a host has it.
MEMORY = "offboard.memory"


class SocketMemory(Protocol):
    """Of one WebSocket. Messages that lie there arrive like all others."""

    def offer(self) -> MemoryOffer:
        """What the client has to be told; it may be told at most once."""
        ...


def memory_of(scope: Scope) -> SocketMemory | None:
    """That of this scope's host, if it has any for this client."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    return extensions.get(MEMORY)
