"""offboard with a policy that says that it never blocks, so that nothing goes to another thread."""

from __future__ import annotations

from collections.abc import Callable

from offboard_core.catalog import from_callables
from offboard_core.server import ServerConfig, run_server

from peers.offboard import AtOncePolicy, Client

__all__ = ["Client", "serve"]


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """The same as its neighbour, whatever the policy is called."""
    source = from_callables({policy: AtOncePolicy})
    run_server({"default": source}, ServerConfig(port=0), lambda host, port: listening(port))
