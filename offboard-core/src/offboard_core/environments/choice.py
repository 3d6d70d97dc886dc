"""Which environment a model runs in."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from offboard_client.errors import ConfigurationError

from ..plugins import ENVIRONMENT, EnvironmentEntry, Offer, Plugins
from ..types import ReportProgress
from .folders import made, place_of
from .making import make
from .uv import find_uv


def choose(plugins: Plugins, name: str, vendor: str | None = None) -> Offer[EnvironmentEntry]:
    """The environment of this name, which can be made here or is made already.

    Raises ConfigurationError as :func:`described`, or naming what is needed to make it.
    """
    offer = described(plugins, name, vendor)
    if not available(offer):
        find_uv(offer.name)
    return offer


def described(plugins: Plugins, name: str, vendor: str | None = None) -> Offer[EnvironmentEntry]:
    """The environment of this name, which is for this platform.

    ``vendor``: the full name of the vendor whose models are to run there. Raises ConfigurationError naming what there
    is, whose it is, or where it can be.
    """
    offer = plugins.get(ENVIRONMENT, name)
    whose = offer.entry.vendor or offer.provider.name
    if vendor is not None and whose != vendor:
        fitting = [o.name for o in plugins.offers(ENVIRONMENT) if (o.entry.vendor or o.provider.name) == vendor]
        raise ConfigurationError(
            f"the environment {offer.name} is for models of the vendor {whose}, and these are {vendor}'s; for them "
            f"there {'is ' + ', '.join(fitting) if fitting else 'is none'}"
        )
    here = f"{sys.platform}-{platform.machine()}"
    if here not in offer.entry.platforms:
        raise ConfigurationError(
            f"the environment {offer.name} is for {', '.join(offer.entry.platforms)}, and this is {here}"
        )
    return offer


def available(offer: Offer[EnvironmentEntry]) -> bool:
    """Whether it is made. Raises ConfigurationError for a wrong list."""
    return made(place_of(offer)) is not None


def maker(plugins: Plugins, name: str, vendor: str) -> Callable[[ReportProgress], Path]:
    """What makes the environment of this name, for this vendor, when a model is loaded. Raises as :func:`choose`."""
    return partial(make, choose(plugins, name, vendor))


__all__ = ["available", "choose", "described", "maker"]
