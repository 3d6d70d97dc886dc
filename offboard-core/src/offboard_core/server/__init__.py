"""The HTTP and WebSocket face of the server: Protocol v1 over :mod:`offboard_core.engine`."""

from __future__ import annotations

from ..engine import Limits
from .config import ServerConfig
from .inference_server import InferenceServer
from .run import run_server

__all__ = ["InferenceServer", "Limits", "ServerConfig", "run_server"]
