"""The process that listens: uvicorn, HTTP routes, tokens, metrics, stopping. All protocols share its one port."""

from __future__ import annotations

from ..engine import ServiceTimeouts
from .acceptor import Acceptor
from .app import App
from .auth import Access
from .config import ServerConfig
from .descriptors import provide
from .frames import FrameMeter
from .inference_server import InferenceServer, log
from .listening import bind, reachable
from .process import run_server
from .protocols import HttpProtocol
from .turns import Turns
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
    "Turns",
    "bind",
    "log",
    "provide",
    "reachable",
    "run_server",
]
