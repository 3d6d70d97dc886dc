"""The end of an exchange: its robot is told, then those who look on."""

from __future__ import annotations

import logging
from typing import Any

from offboard_client.errors import OffboardError

from .exchange import Exchange

log = logging.getLogger(__name__)


def deliver(exchange: Exchange, reply: Any, error: OffboardError | None) -> None:
    """Have its robot told, on the event loop."""
    try:
        exchange.deliver(reply, error)
    except Exception:  # those that are delivered with it are not the ones to pay for it
        log.exception("a reply could not be delivered")


def tell(exchange: Exchange, reply: Any, error: OffboardError | None) -> None:
    """Have observers told of what its robot was."""
    if (records := exchange.pipeline.records) is not None:
        records.delivered(exchange, reply, error)
