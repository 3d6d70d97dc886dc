"""Pages in a browser: recordings played again and scored. Plain ASGI: a run hosts them, a server mounts them."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import ConfigurationError

if find_spec("uvicorn") is None:
    raise ConfigurationError("pages need what is not installed here (uvicorn): pip install 'offboard-client[pages]'")

from .access import is_loopback
from .app import PageSource, pages_app
from .host import PageServer
from .http import ASGIApp, Request, Response, Route, as_json
from .replay import Replay

__all__ = [
    "ASGIApp",
    "PageServer",
    "PageSource",
    "Replay",
    "Request",
    "Response",
    "Route",
    "as_json",
    "is_loopback",
    "pages_app",
]
