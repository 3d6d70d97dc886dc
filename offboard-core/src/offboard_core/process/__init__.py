"""Child processes: started again where they end, and never outliving the server."""

from __future__ import annotations

from .child import Child, free_port, unshared
from .memory import collect
from .supervisor import Supervisor

__all__ = [
    "Child",
    "Supervisor",
    "collect",
    "free_port",
    "unshared",
]
