"""What a user can set on a client, checked once, before anything is opened."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext, create_default_context
from typing import Any, Generic, TypeVar, cast

from ..errors import ConfigurationError, InferTimeout
from ..wire import DEFAULT_LIMITS, Status, WireLimits
from .address import Address, literal, parse_address
from .image_form import Images, parse_images
from .sparse import Sparse

TOKEN_VARIABLE = "OFFBOARD_AUTH_TOKEN"
#: Told what a session waits for.
OnStatus = Callable[[Status], object]
#: Makes what is sent of an observation and the handshake's ``meta``.
Prepare = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
_log = logging.getLogger("offboard_client")
S = TypeVar("S")


@dataclass(frozen=True)
class Clock:
    """Time and chance, so that a test can hold both. ``now`` in seconds, monotonic; ``chance`` in [0, 1).

    ``sleep`` may return an awaitable for the asynchronous client.
    """

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], Any] = time.sleep
    chance: Callable[[], float] = random.random


#: What the waits are called where they are given.
_ARGUMENTS = {
    "connect": "connect_timeout",
    "open": "connect_deadline",
    "status": "status_timeout",
    "infer": "infer_timeout",
    "reopen": "reconnect_deadline",
    "appear": "wait_for_server",
    "silence": "silence_timeout",
    "close": "the time to close",
}


@dataclass(frozen=True)
class Timeouts:
    """Every wait of a client, in seconds; errors name them as the client's arguments.

    ``connect``: one TCP and TLS connection and HTTP upgrade. ``open``: a whole session with all its
    retries and all its waiting. ``status``: between two frames of the handshake. ``infer``: one
    observation or control frame. ``reopen``: like ``open``, for the session after a lost one. ``appear``: an
    address where nothing has answered yet. ``silence``: of an offboard server that owes an answer. ``close``: the
    server's farewell.
    """

    connect: float
    open: float
    status: float
    infer: float
    reopen: float
    appear: float
    silence: float
    close: float = 2.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            usable = isinstance(value, int | float) and not isinstance(value, bool)
            if not usable or not math.isfinite(value) or value <= 0:
                raise ConfigurationError(f"{_ARGUMENTS[name]} is {value!r:.40}; expected seconds, a number above 0")


def _log_notice(text: str) -> None:
    _log.warning("%s", text)  # Python shows warnings where nobody has configured logging


@dataclass(frozen=True)
class Settings:
    """One client's settings. ``headers`` holds the token: it is never shown. ``met``: a session has been open."""

    address: Address
    headers: Mapping[str, str]
    params: Mapping[str, Any]
    timeouts: Timeouts
    report: OnStatus
    tls: SSLContext | None
    prepare: Prepare | None = None
    images: Images = field(default_factory=Images)
    notice: Callable[[str], object] = _log_notice
    shared_memory: bool = True
    limits: WireLimits = DEFAULT_LIMITS
    clock: Clock = Clock()
    met: threading.Event = field(default_factory=threading.Event)

    def __repr__(self) -> str:
        return f"Settings({self.address})"


def late(settings: Settings) -> InferTimeout:
    """The error of an exchange whose deadline has passed."""
    return InferTimeout(
        f"{settings.address} did not answer within {settings.timeouts.infer:g} s. Its answer will not be used: "
        "the session is closed, and the next call opens a new one"
    )


class BaseClient(Generic[S]):
    """What both clients are given, checked, and their sessions. Raises ConfigurationError or BadParameter."""

    _clock = Clock()

    def __init__(
        self,
        host: str,
        port: int = 8000,
        *,
        auth_token: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        on_status: OnStatus | None = None,
        prepare: Prepare | None = None,
        images: str = "raw",
        on_notice: Callable[[str], object] | None = None,
        connect_timeout: float = 10.0,
        connect_deadline: float = 900.0,
        status_timeout: float = 30.0,
        infer_timeout: float = 180.0,
        reconnect_deadline: float = 45.0,
        wait_for_server: float = 5.0,
        silence_timeout: float = 8.0,
        shared_memory: bool = True,
        ssl: SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        address = parse_address(host, port)
        for value in (params or {}).values():
            literal(value)
        self._settings = Settings(
            address=address,
            headers=_headers(auth_token, headers or {}),
            params=dict(params or {}),
            timeouts=Timeouts(
                connect=connect_timeout,
                open=connect_deadline,
                status=status_timeout,
                infer=infer_timeout,
                reopen=reconnect_deadline,
                appear=wait_for_server,
                silence=silence_timeout,
            ),
            report=on_status or Sparse(_log_status),
            prepare=_callable(prepare),
            images=parse_images(images),
            notice=on_notice or _log_notice,
            shared_memory=bool(shared_memory),
            tls=(ssl or create_default_context()) if address.secure else None,
            clock=clock or self._clock,
        )
        self._sessions: weakref.WeakSet[S] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._settings.address)!r})"


def _callable(prepare: Any) -> Prepare | None:
    if prepare is not None and not callable(prepare):
        raise ConfigurationError(
            f"prepare is {prepare!r:.40}; expected a function of the observation and the handshake's meta that returns "
            "what is sent"
        )
    return cast("Prepare | None", prepare)


def _headers(token: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    found = dict(extra)
    for name, value in found.items():
        if not name or not (name + value).isprintable() or not (name + value).isascii() or ":" in name:
            raise ConfigurationError(f"the header {name!r:.60} is not printable ASCII: a server could not read it")
    token = os.environ.get(TOKEN_VARIABLE) if token is None else token
    if token is None or any(name.lower() == "authorization" for name in found):
        return found
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"the token is empty or not printable ASCII: give auth_token= or {TOKEN_VARIABLE} as the server has it"
        )
    return {**found, "Authorization": f"Bearer {token}"}


def _log_status(status: Status) -> None:
    # A warning, because that is what Python shows when nobody has configured logging: a robot that stands
    # still for minutes should say why.
    _log.warning("%s", status)
