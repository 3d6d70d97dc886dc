"""Policies in this process, for the robot's side: what a client's session does, without a server and its sockets."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import LocalOptions, local_options, open_local
    from .session import LocalSession

__all__ = [
    "LocalOptions",
    "LocalSession",
    "local_options",
    "open_local",
]

#: Imported when first asked for: the entry is read for ``offboard run --help``.
_LATER = {
    "LocalOptions": "options",
    "LocalSession": "session",
    "local_options": "options",
    "open_local": "options",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
