"""How the server listens and whom it lets in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, unknown
from offboard_client.protocol import listen_host

from ..engine import PolicyService, ServiceTimeouts
from ..frontends import MAX_SESSIONS, MESSAGE_RATE, QUIET, Admission

#: Settings that are numbers above 0; without a ``quiet`` or a ``grace`` nothing is waited for.
_NUMBERS = ("max_sessions", "quiet", "grace", "request_timeout", "ping_interval", "ping_timeout", "frame_rate")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """``port`` 0 takes a free one. ``auth_token`` None leaves every route open. Times in seconds.

    ``max_sessions``: sessions beyond it are refused before the upgrade (503, Retry-After), unless one of those that
    are open has sent nothing for ``quiet`` seconds: the quietest makes room.
    ``preload``: load the default model at once instead of at the first session; one that can never be loaded ends the
    server.
    ``grace``: how long an exchange in flight may take to end when the server is told to stop.
    ``allowed_hosts``: names of this server that it cannot know, for requests without a token (A-10).
    ``request_timeout``: how long a connection may take for its request, the handshake of TLS with it.
    ``ping_interval``: how often a session is pinged; without an answer within ``ping_timeout`` it ends.
    ``frame_rate``: frames a second (pings, pieces and messages that wait for no answer) a session may send; one that
    asks again when it was answered is never too fast.
    ``shared_memory``: whether clients on this machine may have their observations lie in memory that we read (Linux).
    """

    host: str = "127.0.0.1"
    port: int = 8000
    auth_token: str | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    max_sessions: int = MAX_SESSIONS
    quiet: float = QUIET
    preload: bool = True
    grace: float = 3.0
    allowed_hosts: Sequence[str] = ()
    request_timeout: float = 5.0
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    frame_rate: float = MESSAGE_RATE
    shared_memory: bool = True
    limits: ServiceTimeouts = field(default_factory=ServiceTimeouts)

    def __post_init__(self) -> None:
        """An IPv6 address may come in brackets. Raises ConfigurationError for a ``host`` that is not one alone, and for
        what is no port or no time."""
        object.__setattr__(self, "host", listen_host(self.host))
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise ConfigurationError(f"the port is {self.port!r:.40}; expected 0 (a free one) to 65535")
        for name in _NUMBERS:
            value: object = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
            if not number or (not value and name not in ("quiet", "grace")):
                raise ConfigurationError(f"{name} is {value!r:.40}; expected a number above 0")

    @classmethod
    def of(cls, base: ServerConfig | None, settings: Mapping[str, Any]) -> ServerConfig:
        """``base``, or the defaults, with ``settings``. Raises ConfigurationError for a name that is none."""
        known = [one.name for one in fields(cls)]
        for name in settings:
            if name not in known:
                raise ConfigurationError(unknown("setting of a server", name, known))
        return replace(base or cls(), **settings)

    def admission(self, service: PolicyService) -> Admission:
        """Who may begin a session on ``service``. Raises ConfigurationError for a token that no client can send."""
        return Admission(
            service, token=self.auth_token, max_sessions=self.max_sessions, quiet=self.quiet,
            message_rate=self.frame_rate,
        )  # fmt: skip
