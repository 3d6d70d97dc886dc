"""How the server listens and whom it lets in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.lease import Limits


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """``port`` 0 takes a free one. ``auth_token`` None leaves every route open. Times in seconds.

    ``max_sessions``: sessions beyond it are refused before the upgrade (503, Retry-After).
    ``preload``: load the default model at once instead of at the first session.
    ``grace``: how long an exchange in flight may take to end when the server is told to stop.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    auth_token: str | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    max_sessions: int = 256
    preload: bool = True
    grace: float = 3.0
    limits: Limits = field(default_factory=Limits)
