"""Pages in a browser: recordings played again and scored, a run while it goes on. Plain ASGI, to host or to mount."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import ConfigurationError

if find_spec("uvicorn") is None:
    raise ConfigurationError("pages need what is not installed here (uvicorn): pip install 'offboard-client[pages]'")

from .access import is_loopback
from .app import PageSource, pages_app
from .desk import Desk
from .host import PageServer
from .http import ASGIApp, Request, Response, Route, as_json
from .keeping import Keeping
from .live import Live
from .live_seen import Seen
from .replay import Replay
from .starts import Starts
from .trial_desk import TrialDesk

__all__ = [
    "ASGIApp",
    "Desk",
    "Keeping",
    "Live",
    "PageServer",
    "PageSource",
    "Replay",
    "Request",
    "Response",
    "Route",
    "Seen",
    "Starts",
    "TrialDesk",
    "as_json",
    "is_loopback",
    "pages_app",
]
