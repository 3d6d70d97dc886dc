"""offboard as a client on the same machine has it: observations lie in memory that the server reads."""

from __future__ import annotations

from peers import offboard
from peers.offboard import serve

__all__ = ["Client", "serve"]


class Client(offboard.Client):
    """The same, through memory."""

    shared_memory = True
