"""The application (`asgi_app`) and what hosts it: `Host`, `InferenceServer`, the process of `offboard serve`."""

from __future__ import annotations

from ..engine import ServiceTimeouts
from .acceptor import Acceptor
from .app import App
from .asgi import AsgiApp, asgi_app
from .auth import Access
from .config import ServerConfig
from .frames import FrameMeter
from .host import Host
from .inference_server import InferenceServer, log
from .last import last_json
from .listeners import Listeners
from .listening import bind, reachable
from .messages import KEPT, MessageReader
from .process import run_server
from .protocols import HttpProtocol
from .uvicorn_server import Config
from .voice import Guarded, Voice, voice_of

__all__ = [
    "Acceptor",
    "Access",
    "App",
    "AsgiApp",
    "Config",
    "FrameMeter",
    "Guarded",
    "KEPT",
    "MessageReader",
    "Host",
    "HttpProtocol",
    "InferenceServer",
    "Listeners",
    "ServerConfig",
    "ServiceTimeouts",
    "Voice",
    "asgi_app",
    "bind",
    "last_json",
    "log",
    "reachable",
    "run_server",
    "voice_of",
]
