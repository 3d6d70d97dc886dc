"""One WebSocket: from its opening to its close, whatever protocol it speaks."""

from __future__ import annotations

from .asgi import Receive, Send, peer, serve_socket
from .carrier import CARRIER, Carrier
from .session_protocol import SessionProtocol

__all__ = [
    "CARRIER",
    "Carrier",
    "Receive",
    "Send",
    "SessionProtocol",
    "peer",
    "serve_socket",
]
