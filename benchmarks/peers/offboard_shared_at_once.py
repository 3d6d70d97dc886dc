"""offboard through memory, with a policy that says that it never blocks."""

from __future__ import annotations

from peers.offboard_at_once import serve
from peers.offboard_shared import Client

__all__ = ["Client", "serve"]
