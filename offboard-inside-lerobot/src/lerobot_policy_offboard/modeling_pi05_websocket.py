"""The policy of the type ``pi05_websocket``."""

from __future__ import annotations

from typing import Any

from .configuration_pi05_websocket import PI05WebSocketConfig
from .modeling_offboard import OffboardPolicy


class PI05WebSocketPolicy(OffboardPolicy):
    """See :class:`OffboardPolicy`; its server is a stock openpi server."""

    config_class: Any = PI05WebSocketConfig
    name: Any = "pi05_websocket"
