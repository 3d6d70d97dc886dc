"""The robot's side of offboard: observations go to a policy server, action chunks come back.

Importing this package loads numpy, msgpack and websockets, and nothing heavier.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .client import InferenceClient, InferenceSession
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
    ShuttingDown,
    Unauthorized,
)
from .messages import Status

if TYPE_CHECKING:
    from .aio import AsyncInferenceClient, AsyncInferenceSession

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
    "ShuttingDown",
    "Status",
    "Unauthorized",
]


def __getattr__(name: str) -> Any:
    # Loading asyncio takes longer than everything else here; a blocking robot has no use for it.
    if name in ("AsyncInferenceClient", "AsyncInferenceSession"):
        return getattr(importlib.import_module(".aio", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
