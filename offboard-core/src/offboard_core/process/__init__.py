"""Child processes that never outlive the server."""

from __future__ import annotations

from .child import Child, free_port, unshared
from .memory import collect

__all__ = [
    "Child",
    "collect",
    "free_port",
    "unshared",
]
