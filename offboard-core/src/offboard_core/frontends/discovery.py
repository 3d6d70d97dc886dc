"""Which frontends and listeners a server has: those of the installed plugins, with the options they were given."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from offboard_client.errors import ConfigurationError, OffboardError
from offboard_client.plugins import build

from ..plugins import FRONTEND, LISTENER, FrontendEntry, Offer, Plugins
from .base import Frontend
from .listener import Listener

log = logging.getLogger(__name__)


def make_frontends(plugins: Plugins, options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Frontend]:
    """The frontends of all plugins, by the WebSocket path they are spoken on.

    ``options``: a frontend's full name → its options. One that cannot be made is left out with a warning, unless its
    options were given. Raises ConfigurationError for that, for a name that no frontend has, and for a path that two of
    them want.
    """
    options = options or {}
    for name in options:
        plugins.get(FRONTEND, name)
    made: dict[str, Frontend] = {}
    owners: dict[str, Offer[FrontendEntry]] = {}
    for offer in plugins.offers(FRONTEND):
        try:
            given = options.get(offer.name, {})
            asked = build(offer.options(), given, f"the frontend {offer.name}", ConfigurationError)
            frontend: Frontend = offer.make(asked)
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


def make_listeners(
    plugins: Plugins, asked: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, tuple[Listener, int]]:
    """The listeners that are ``asked`` for as ``NAME`` or ``NAME:PORT``, by full name, each with its port.

    ``options``: a listener's full name → its options. Raises ConfigurationError for a name that no listener has or that
    is asked for twice, for a port that is none, and for options that do not fit, or are of one that is not asked for.
    """
    options, made = options or {}, dict[str, tuple[Listener, int]]()
    for text in asked:
        name, port = split_listen(text)
        offer = plugins.get(LISTENER, name)
        if offer.name in made:
            raise ConfigurationError(f"the listener {offer.name} is asked for twice; it listens on one port")
        given = build(offer.options(), options.get(offer.name, {}), f"the listener {offer.name}", ConfigurationError)
        made[offer.name] = offer.make(given), offer.entry.port if port is None else port
    for name in options:
        if name not in made:
            full = plugins.get(LISTENER, name).name
            raise ConfigurationError(f"options of the listener {name} are set, and it does not listen: --listen {full}")
    return made


def split_listen(text: str) -> tuple[str, int | None]:
    """The name in ``NAME[:PORT]``, and the port where there is one. Raises ConfigurationError."""
    name, colon, port = text.partition(":")
    if not name or (colon and not (port.isascii() and port.isdecimal() and int(port[:6]) <= 65535)):
        raise ConfigurationError(
            f"{text[:80]!r} is no listener: expected NAME, or NAME:PORT with a port from 0 (a free one) to 65535"
        )
    return name, int(port) if colon else None
