"""All of the client's I/O: the blocking and the asyncio client, their sessions, sockets and HTTP."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .client import InferenceClient, InferenceSession
from .state import check_same

if TYPE_CHECKING:
    from .aio import AsyncInferenceClient, AsyncInferenceSession
    from .link import Link, LinkClient
    from .openpi import OpenPIOptions, OpenPISession, open_layout, open_openpi
    from .sockets import Steps, Tried

__all__ = [
    "AsyncInferenceClient",
    "AsyncInferenceSession",
    "InferenceClient",
    "InferenceSession",
    "Link",
    "LinkClient",
    "OpenPIOptions",
    "OpenPISession",
    "Steps",
    "Tried",
    "check_same",
    "open_layout",
    "open_openpi",
]

#: Imported when first asked for, since they import libraries that not everybody has.
_LATER = {
    "AsyncInferenceClient": "aio",
    "AsyncInferenceSession": "aio",
    "Link": "link",
    "LinkClient": "link",
    "Steps": "sockets",
    "Tried": "sockets",
    "OpenPIOptions": "openpi",
    "OpenPISession": "openpi",
    "open_layout": "openpi",
    "open_openpi": "openpi",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
