"""A session with a stock openpi server, as ``--policy openpi://HOST:PORT`` opens it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ssl import create_default_context
from typing import Literal
from urllib.parse import urlencode

from ..errors import BadMessage, ConfigurationError, ConnectionLost, PolicyFailed
from ..protocol import Address, Layout, OpenPIProtocol, Settings, Timeouts, bracketed, parse_address, said_layout
from ..wire import SESSION_PATH, Status
from .blocking import Connection, open_connection
from .client import InferenceSession

_PORT = 8000
#: Seconds, as of a client of our own servers.
_CONNECT, _OPEN, _REOPEN, _APPEAR, _STATUS, _SILENCE = 10.0, 900.0, 45.0, 5.0, 60.0, 8.0


@dataclass(frozen=True, kw_only=True)
class OpenPIOptions:
    """Options of ``--policy openpi://HOST:PORT``: what its server does not say."""

    layout: Literal["droid", "droid_jointpos", "libero", "aloha"] | None = None
    """The robot whose keys and columns the policy has, as openpi ships it; what else is said here rules over it."""
    fps: float | None = None
    """Steps per second of the actions."""
    keys: tuple[str, ...] = ()
    """What is sent under which key: `observation/state=robot_state.q:7,grip:1 observation/image=image.wrist`."""
    actions: tuple[str, ...] = ()
    """What the columns of the actions are, in order: `target_joints:7 target_grip:1`."""
    steps: int | None = None
    """How many steps of a chunk are played; without it as many as the layout's own robots play, else all."""
    channels_first: bool = False
    """Send images as (3, h, w)."""
    resize: int | tuple[int, ...] | None = None
    """Send images of this size (one number, or width and height), with black bars, as openpi's own tools make them."""
    timeout: float = 240.0
    """How long to wait for one answer, in seconds; the first one may have to wait for a compilation."""
    wait: float | None = None
    """Seconds to wait for a server that is still to start (else 5), and for its metadata (else 900)."""

    def __post_init__(self) -> None:
        for flag, value in (("--timeout", self.timeout), ("--wait", self.wait)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"{flag} is {value:g}; expected seconds, a number above 0")


class OpenPISession(InferenceSession):
    """One robot's session with a stock openpi server; made by :func:`open_openpi`.

    As :class:`InferenceSession`, but that after an error of the policy, too, the next call opens a new connection, and
    that there are no controls. The server remembers nothing from one observation to the next.
    """

    def __init__(self, settings: Settings, layout: Layout) -> None:
        self._protocol_of = partial(OpenPIProtocol, layout=layout)
        super().__init__(settings, None, {})

    def reset(self) -> None:
        """Nothing is sent, for the server has nothing to forget. A connection that was lost is opened anew."""
        try:
            self._using(Connection.check)
        except (ConnectionLost, PolicyFailed, BadMessage):
            self._using(Connection.check)

    def _connect(self, seconds: float) -> Connection:
        return open_connection(self._settings, _url(self._settings.address), seconds, self._protocol_of)


def open_openpi(options: OpenPIOptions, where: str | None, on_status: Callable[[Status], None]) -> OpenPISession:
    """A session that has the server's metadata. ``where``: ``//HOST:PORT``, or a whole ``wss://`` URL.

    Raises ConfigurationError for an address or options that do not say enough, and what opening a session raises.
    """
    if where is None:
        raise ConfigurationError("say where the openpi server is: --policy openpi://HOST:PORT")
    layout = said_layout(
        options.layout,
        fps=options.fps,
        keys=options.keys,
        actions=options.actions,
        steps=options.steps,
        channels_first=options.channels_first,
        resize=options.resize,
    )
    return open_layout(layout, where, on_status, timeout=options.timeout, wait=options.wait)


def open_layout(
    layout: Layout, where: str, on_status: Callable[[Status], None], *, timeout: float, wait: float | None = None
) -> OpenPISession:
    """The same with a layout that is there already. ``where``, ``timeout``, ``wait``: as of the options."""
    address = parse_address(where.removeprefix("//"), _PORT)
    if SESSION_PATH in where:
        raise ConfigurationError(
            f"{SESSION_PATH} is a path of offboard's own servers: write {where.removeprefix('//')} without --policy"
        )
    timeouts = Timeouts(
        connect=min(_CONNECT, timeout),
        open=_OPEN if wait is None else wait,
        status=_STATUS,
        infer=timeout,
        reopen=_REOPEN,
        appear=_APPEAR if wait is None else wait,
        silence=_SILENCE,
    )
    tls = create_default_context() if address.secure else None
    # No token of ours: a stock server asks for none, and whoever else listens there is not told it.
    settings = Settings(address=address, headers={}, params={}, timeouts=timeouts, report=on_status, tls=tls)
    return OpenPISession(settings, layout)


def _url(address: Address) -> str:
    query = f"?{urlencode(address.query)}" if address.query else ""
    scheme = "wss" if address.secure else "ws"
    return f"{scheme}://{bracketed(address.name)}:{address.port}{address.base or '/'}{query}"
