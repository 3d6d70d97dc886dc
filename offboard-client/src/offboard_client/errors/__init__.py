"""What can go wrong, by name, and how it is said: the protocol's errors, texts without control characters, logs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .kinds import (
    BY_CODE,
    BadMessage,
    BadObservation,
    BadParameter,
    Busy,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    DialectUnsupported,
    Forbidden,
    Full,
    Idle,
    InferTimeout,
    Internal,
    InvalidAction,
    LoadFailed,
    ModelLost,
    ModelNotFound,
    NotFound,
    OffboardError,
    PolicyFailed,
    ProtocolError,
    RecordingFailed,
    RobotFailed,
    ServerChanged,
    ShuttingDown,
    Unauthorized,
    from_code,
)
from .names import nearest, unknown
from .printable import brief, cell, counted, one_line, printable, told, wrapped

if TYPE_CHECKING:
    from .logs import FETCHING, Lines, log_to_stderr

__all__ = [
    "BY_CODE",
    "FETCHING",
    "BadMessage",
    "BadObservation",
    "BadParameter",
    "Busy",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionLost",
    "DeadlineExceeded",
    "DialectUnsupported",
    "Forbidden",
    "Full",
    "Idle",
    "InferTimeout",
    "Internal",
    "InvalidAction",
    "Lines",
    "LoadFailed",
    "ModelLost",
    "ModelNotFound",
    "NotFound",
    "OffboardError",
    "PolicyFailed",
    "ProtocolError",
    "ServerChanged",
    "RecordingFailed",
    "RobotFailed",
    "ShuttingDown",
    "Unauthorized",
    "brief",
    "cell",
    "counted",
    "from_code",
    "log_to_stderr",
    "nearest",
    "one_line",
    "printable",
    "told",
    "unknown",
    "wrapped",
]

#: Imported when first asked for: an error needs no logging.
_LATER = {"FETCHING": "logs", "Lines": "logs", "log_to_stderr": "logs"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
