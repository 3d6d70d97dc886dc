"""The process that listens: uvicorn, HTTP routes, tokens, metrics, stopping. All protocols share its one port."""

from __future__ import annotations

from ..engine import ServiceTimeouts
from .acceptor import Acceptor
from .app import App
from .auth import Access
from .config import ServerConfig
from .frames import FrameMeter
from .inference_server import InferenceServer, log
from .listening import bind, reachable
from .process import run_server
from .protocols import HttpProtocol
from .uvicorn_server import Config

__all__ = [
    "Acceptor",
    "Access",
    "App",
    "Config",
    "FrameMeter",
    "HttpProtocol",
    "InferenceServer",
    "ServerConfig",
    "ServiceTimeouts",
    "bind",
    "log",
    "reachable",
    "run_server",
]
