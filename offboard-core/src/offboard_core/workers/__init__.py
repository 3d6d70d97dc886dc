"""Workers: a vendor's model in a process of its own, with a Python of its own if need be, behind the same ``Policy``.

The server keeps what reads files only (registry, codec, handshake); what the loader loads runs in a child with core's
worker in it. Observations and chunks cross in shared memory, all else on a socket.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .interpreter import look_for
from .isolation import Isolation, asked_for
from .recipe import Recipe, recipe_of

if TYPE_CHECKING:
    from .loader import WorkerLoader
    from .policy import WorkerPolicy

__all__ = ["Isolation", "Recipe", "WorkerLoader", "WorkerPolicy", "asked_for", "look_for", "recipe_of"]

#: Imported when first asked for: a server without workers needs no shared memory, and its system may have none.
_LATER = {"WorkerLoader": "loader", "WorkerPolicy": "policy"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
