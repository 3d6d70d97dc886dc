"""offboard inside LeRobot: the policy types ``offboard`` and ``pi05_websocket``, whose model a server has.

LeRobot's commands import this package by its name, which registers them.
"""

from .configuration_offboard import OffboardConfig
from .configuration_pi05_websocket import PI05WebSocketConfig

__all__ = ["OffboardConfig", "PI05WebSocketConfig"]
