"""The protocol as rules without I/O: addresses, settings, attempts, the frames of one session, its timing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .address import Address, bracketed, is_numeric, listen_host, literal, parse_address
from .deadline import Deadline, Passed, Pulse
from .meta import FPS_RANGE, RATE, check_meta, is_rate
from .sparse import Sparse
from .timing import Step, Timings

if TYPE_CHECKING:
    from .attempts import AttemptFailed, Attempts, from_os_error, from_response
    from .session_protocol import SessionProtocol, late
    from .settings import BaseClient, Clock, Prepare, Settings
    from .websocket import WebSocket

__all__ = [
    "FPS_RANGE",
    "RATE",
    "Address",
    "AttemptFailed",
    "Attempts",
    "BaseClient",
    "Clock",
    "Deadline",
    "Passed",
    "Prepare",
    "Pulse",
    "SessionProtocol",
    "Settings",
    "Sparse",
    "Step",
    "Timings",
    "WebSocket",
    "bracketed",
    "check_meta",
    "from_os_error",
    "from_response",
    "is_numeric",
    "is_rate",
    "late",
    "listen_host",
    "literal",
    "parse_address",
]

#: Imported when first asked for: whoever needs an address or a rate needs no websockets and no ssl.
_LATER = {
    "AttemptFailed": "attempts",
    "Attempts": "attempts",
    "from_os_error": "attempts",
    "from_response": "attempts",
    "SessionProtocol": "session_protocol",
    "late": "session_protocol",
    "BaseClient": "settings",
    "Clock": "settings",
    "Prepare": "settings",
    "Settings": "settings",
    "WebSocket": "websocket",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
