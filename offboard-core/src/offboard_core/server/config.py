"""How the server listens and whom it lets in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offboard_client._address import listen_host

from ..runtime.lease import Limits


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """``port`` 0 takes a free one. ``auth_token`` None leaves every route open. Times in seconds.

    ``max_sessions``: sessions beyond it are refused before the upgrade (503, Retry-After), unless one of those that
    are open has sent nothing for ``quiet`` seconds: the quietest makes room.
    ``preload``: load the default model at once instead of at the first session.
    ``grace``: how long an exchange in flight may take to end when the server is told to stop.
    ``allowed_hosts``: names of this server that it cannot know, for requests without a token (A-10).
    ``request_timeout``: how long a connection may take for its request, and for the handshake of TLS.
    ``ping_interval``: how often a session is pinged; without an answer within ``ping_timeout`` it ends.
    ``frame_rate``: frames a second (pings, pieces and messages that wait for no answer) a session may send; one that
    asks again when it was answered is never too fast.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    auth_token: str | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    max_sessions: int = 256
    quiet: float = 60.0
    preload: bool = True
    grace: float = 3.0
    allowed_hosts: Sequence[str] = ()
    request_timeout: float = 5.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    frame_rate: float = 2000.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """An IPv6 address may come in brackets. Raises ConfigurationError for a ``host`` that is not one alone."""
        object.__setattr__(self, "host", listen_host(self.host))
