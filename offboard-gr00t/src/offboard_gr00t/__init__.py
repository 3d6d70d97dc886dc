"""GR00T's robots in front of offboard. Importing this imports no model library."""

from __future__ import annotations

from collections.abc import Iterator

from offboard_core import ListenerEntry, hookimpl


@hookimpl
def offboard_listeners() -> Iterator[ListenerEntry]:
    """GR00T's own protocol, for the robots that run its client."""
    yield ListenerEntry(
        name="gr00t",
        summary="GR00T's own protocol over ZMQ: robots that run its PolicyClient drive any model.",
        factory="offboard_gr00t.listener:GR00TListener",
        port=5555,
        options="offboard_gr00t.options:GR00TListenerOptions",
    )
