"""The robot's side of offboard: observations go to a policy server, action chunks come back.

The clients load numpy, msgpack and websockets, and nothing heavier; the errors load nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
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
)

if TYPE_CHECKING:
    from .session import AsyncInferenceClient, AsyncInferenceSession, InferenceClient, InferenceSession
    from .wire import Status

#: Where what is not a small module's is; loaded when it is first asked for, so that a command can say that it was
#: interrupted while numpy is loaded, and a blocking robot never loads asyncio.
_HOMES = {
    "AsyncInferenceClient": ".session",
    "AsyncInferenceSession": ".session",
    "InferenceClient": ".session",
    "InferenceSession": ".session",
    "Status": ".wire",
}

__all__ = [
    "AsyncInferenceClient",
    "AsyncInferenceSession",
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
    "InferenceClient",
    "InferenceSession",
    "Internal",
    "InvalidAction",
    "LoadFailed",
    "ModelLost",
    "ModelNotFound",
    "NotFound",
    "OffboardError",
    "PolicyFailed",
    "ProtocolError",
    "RecordingFailed",
    "RobotFailed",
    "ServerChanged",
    "ShuttingDown",
    "Status",
    "Unauthorized",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
