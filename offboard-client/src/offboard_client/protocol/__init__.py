"""The protocol as rules without I/O: addresses, settings, attempts, the frames of one session, its timing."""

from __future__ import annotations

from .address import Address, bracketed, is_numeric, listen_host, literal, parse_address
from .attempts import AttemptFailed, Attempts, from_os_error, from_response
from .deadline import Deadline, Passed, Pulse
from .meta import FPS_RANGE, RATE, check_meta, is_rate
from .session_protocol import SessionProtocol, late
from .settings import BaseClient, Clock, Settings
from .sparse import Sparse
from .timing import Step, Timings
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
