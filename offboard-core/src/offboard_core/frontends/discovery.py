"""Which frontends a server speaks: those of the installed plugins, with the options they were given."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from offboard_client.errors import ConfigurationError, OffboardError
from offboard_client.plugins import build

from ..plugins import FRONTEND, FrontendEntry, Offer, Plugins
from .base import Frontend

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
