"""Foreign protocols on this server's port: a robot that speaks another wire drives any model served here.

A frontend is spoken on WebSocket paths and makes, for each socket, a :class:`Speech`: what its protocol says before,
between and after the observations. Everything else is the server's, and the same for all protocols: one observation at
a time, replies in order, pings answered while a model loads or infers, a vanished client noticed at once, leases,
closing. Plugins offer frontends by the hook ``offboard_frontends``.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from offboard_client.errors import ConfigurationError, OffboardError
from offboard_client.messages import Status

from ._offers import FrontendOffer
from .options import build
from .plugins import Plugins
from .runtime.codec import BoundCodec
from .runtime.exchange import Result, Wire
from .runtime.session import ServiceSession
from .types import Chunk

log = logging.getLogger(__name__)

#: One WebSocket message: binary or text.
Frame = bytes | str
#: ASGI's description of the connection: ``path``, ``query_string``, ``headers`` …
Scope = Mapping[str, Any]


class Speech(abc.ABC):
    """What one socket of a protocol says. All methods but those of the wire run on the event loop and must not wait.

    ``model_id``: the model asked for; None for the default. ``params``: session parameters as name and value.
    ``session_id``: of the session whose lingering lease this socket takes back, if any.
    """

    model_id: str | None = None
    params: Sequence[tuple[str, str]] = ()
    session_id: str | None = None

    def bridge(self, codec: BoundCodec) -> BoundCodec:
        """What stands between this protocol's names and the model: the codec that the session uses.

        ``codec`` itself, as here, where the protocol speaks canonical names; else one that makes canonical names of
        the client's and answers in the client's terms. Raises an OffboardError where one has no form in the other,
        such as velocities for poses: the socket is refused before the model is loaded for it.
        """
        return codec

    @abc.abstractmethod
    def wire(self, codec: BoundCodec) -> Wire:
        """The two translations of an observation and its reply; they run off the event loop. ``codec``: the bridged."""

    def status(self, status: Status) -> Frame | None:
        """How to say that the model is not there yet; None, as here, for a protocol that has no such word."""
        return None

    @abc.abstractmethod
    def ready(self, session: ServiceSession) -> Frame:
        """The frame that ends the handshake."""

    def refusal(self, error: OffboardError) -> Frame | None:
        """The last frame of a socket that gets no session; None, as here: the reason of the close frame says why."""
        return None

    @abc.abstractmethod
    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """The reply to ``frame``, which never reached the model."""

    def is_control(self, frame: Frame) -> bool:
        """Whether this is something else than an observation; here nothing is.

        Looks into short frames only: this is the event loop.
        """
        return False

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """The reply to a control frame. An OffboardError that it raises becomes :meth:`error`."""
        raise NotImplementedError(f"{type(self).__name__} knows no control frames")


class Frontend(abc.ABC):
    """What the factory of a :class:`~offboard_core.FrontendEntry` makes, once per server."""

    @abc.abstractmethod
    def open(self, scope: Scope) -> Speech:
        """The speech of a new socket. Raises an OffboardError for a URL that cannot be understood."""

    def refuse(self, scope: Scope, error: OffboardError) -> Frame | None:
        """The last frame of a socket whose URL cannot be understood; None as in :meth:`Speech.refusal`."""
        return None


def make_frontends(plugins: Plugins, options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Frontend]:
    """The frontends of all plugins, by the WebSocket path they are spoken on.

    ``options``: a frontend's full name → its options. One that cannot be made is left out with a warning, unless its
    options were given. Raises ConfigurationError for that, for a name that no frontend has, and for a path that two of
    them want.
    """
    options = options or {}
    for name in options:
        plugins.frontend(name)
    made: dict[str, Frontend] = {}
    owners: dict[str, FrontendOffer] = {}
    for offer in plugins.frontends():
        try:
            given = options.get(offer.name, {})
            frontend = offer.make(build(offer.options(), given, f"the frontend {offer.name}", ConfigurationError))
        except OffboardError as error:
            if offer.name in options:
                raise
            log.warning("the frontend %s is not served: %s", offer.name, error.text)
            continue
        for path in offer.entry.paths:
            if path in made:
                raise ConfigurationError(
                    f"two frontends want the path {path}: {owners[path].name} of the plugin {owners[path].provider} "
                    f"and {offer.name} of {offer.provider}; uninstall one of them"
                )
            made[path], owners[path] = frontend, offer
    return made


__all__ = [
    "BoundCodec", "Chunk", "Frame", "Frontend", "Result", "Scope", "ServiceSession", "Speech", "Status", "Wire",
    "make_frontends",
]  # fmt: skip
