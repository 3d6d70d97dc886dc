"""Memory that a session shares with a server on the same machine, so that images need not go through a socket."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from ..memory import on_one_machine
from ..protocol import SessionProtocol, Settings

log = logging.getLogger(__name__)

#: Seconds: who takes memory is on this machine, and does it at once. It is asked in three steps.
_WAIT, LONGEST = 1.0, 3.0


def share(protocol: SessionProtocol, settings: Settings, ends: Callable[[], tuple[Any, Any]]) -> None:
    """Let observations go through memory where the server takes it; else all stays as it is.

    ``ends``: what the connection's socket says of its name, and of its peer's; it may raise OSError. Waits, as long as
    it takes to ask.
    """
    offer = protocol.memory
    if offer is None or not settings.shared_memory or sys.platform != "linux":
        return
    from ..memory import Broken, hand_over

    try:
        name, peer = ends()
        if not name or not peer or not on_one_machine(name[0], peer[0]):
            return
        shared = hand_over(offer, settings.limits.message_bytes, _WAIT)
    except (OSError, Broken) as error:  # through a tunnel the server only seems to be here
        log.debug("%s gets observations through the socket: %s", settings.address, error)
        return
    protocol.websocket.lay = shared.laid  # the memory goes with the connection


__all__ = ["LONGEST", "share"]
