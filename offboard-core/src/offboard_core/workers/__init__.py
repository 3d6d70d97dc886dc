"""Workers: a vendor's model in a process of its own, with a Python of its own if need be, behind the same ``Policy``.

The server keeps what reads files only (registry, codec, handshake); what the loader loads runs in a child with core's
worker in it. Observations and chunks cross in shared memory, all else on a socket.
"""

from __future__ import annotations

from .isolation import Isolation, asked_for
from .loader import WorkerLoader
from .policy import WorkerPolicy
from .recipe import Recipe, recipe_of

__all__ = ["Isolation", "Recipe", "WorkerLoader", "WorkerPolicy", "asked_for", "recipe_of"]
