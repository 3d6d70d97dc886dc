"""Which plugins are installed and what they offer.

A broken plugin is a row with a cause, and an error only for whoever asks for it.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, nearest, unknown

from ..checkpoints import nearby, what_is_there
from .discovery import BUILTIN, NAME, core, installed, load
from .kinds import CODEC, KINDS, LOADER, E_co, Kind
from .offers import Offer, Provider

log = logging.getLogger(__name__)

_POSITRONIC = re.compile(r"@(?:\w+\.)*(?P<module>\w+)\.codecs\.(?P<name>\w+)")
_HERE = " in this environment (`offboard plugins` lists what is)"


@dataclass(frozen=True, kw_only=True)
class PluginRow:
    """One plugin in a listing: full names of what it ``offers``, by kind, or the ``cause`` why it offers nothing."""

    provider: Provider
    offers: Mapping[Kind[Any], tuple[str, ...]]
    cause: str | None = None


class Plugins:
    """The plugins of one program, and ways to ask for what they offer."""

    def __init__(self, found: Sequence[tuple[Provider, Any]]):
        """Use :meth:`discover` or :meth:`of`."""
        self._providers = [provider for provider, _ in found]
        offers, self._broken = load(found)
        self._offers: dict[Kind[Any], dict[str, Offer[Any]]] = {kind: {} for kind in KINDS.values()}
        for offer in offers:
            self._offers[offer.kind][offer.name] = offer

    @classmethod
    def discover(cls, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> Plugins:
        """Load core's own plugin and every installed one; never raises for a plugin that is broken.

        ``entry_points``: what to load instead of the group ``offboard`` of this environment.
        """
        return cls([core(), *installed(entry_points)])

    @classmethod
    def of(cls, **plugins: object) -> Plugins:
        """Core's own plugin and these modules (or other objects with hook implementations), by plugin name."""
        return cls([core(), *((Provider(name=name), module) for name, module in plugins.items())])

    def get(self, kind: Kind[E_co], name: str, vendor: str | None = None) -> Offer[E_co]:
        """What is offered by this full name, else by this short name at this vendor, else in core.

        A codec may be written ``@package.module.codecs.NAME``, as on Positronic's command lines: the codec NAME of the
        vendor whose module that is, if there is one, else NAME.
        Raises ConfigurationError: naming the nearest if there is none, or why its plugin is broken.
        """
        offers = self._offers[kind]
        if kind is CODEC and (written := _POSITRONIC.fullmatch(name)):
            full = f"{written['module']}.{written['name']}"
            name = full if full in offers else written["name"]
        for full in (name, f"{vendor}.{name}", f"{BUILTIN}.{name}"):
            if full in offers:
                return offers[full]
        for provider, cause in self._broken.items():
            if provider.name == name.partition(".")[0]:
                raise ConfigurationError(
                    f"the {kind.noun} {name!r} cannot be had: the plugin {provider} is broken: {cause}"
                )
        hint = ""
        if kind is LOADER and not nearest(name, offers) and NAME.fullmatch(name):
            there = any(provider.name == name for provider in self._providers)
            hint = f"; the plugin {name} serves nothing yet" if there else f"; is offboard-{name} installed{_HERE}?"
        elif below := sorted(full for full in offers if full.startswith(f"{name}.")):
            hint = f'; the table of {below[0]} in a file is [{kind.heading}."{below[0]}"]'
        raise ConfigurationError(unknown(kind.noun, name, offers) + hint)

    def offers(self, kind: Kind[E_co]) -> list[Offer[E_co]]:
        """Everything of this kind, by full name."""
        return [offer for _, offer in sorted(self._offers[kind].items())]

    def rows(self) -> list[PluginRow]:
        """One row per plugin: core first, then the others by name."""
        return [
            PluginRow(
                provider=provider,
                offers={
                    kind: tuple(name for name, offer in offers.items() if offer.provider == provider)
                    for kind, offers in self._offers.items()
                },
                cause=self._broken.get(provider),
            )
            for provider in self._providers
        ]

    def recognise(self, path: Path) -> str:
        """The full name of the one vendor that knows these files.

        Raises ConfigurationError naming the vendors that looked, if none or several of them do.
        """
        asked = [offer.name for offer in self.offers(LOADER) if offer.entry.recognises is not None]
        matching = self._matching(path)
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise ConfigurationError(f"several vendors recognise {path}: {', '.join(matching)}; choose with --vendor")
        broken = f"; these plugins are broken: {', '.join(map(str, self._broken))}" if self._broken else ""
        near = nearby(path, lambda place: bool(self._matching(place)))
        raise ConfigurationError(
            f"no installed vendor recognises the files in {path}, {what_is_there(path)} "
            f"(asked: {', '.join(asked) or 'none can tell'}{broken}); "
            + (f"did you mean {near}?" if near else f"choose with --vendor, or install the vendor's plugin{_HERE}")
        )

    def _matching(self, path: Path) -> list[str]:
        matching: list[str] = []
        for offer in self.offers(LOADER):
            try:
                if offer.entry.recognises is not None and offer.entry.recognises(path):
                    matching.append(offer.name)
            except Exception as error:
                log.warning("the plugin %s could not look at %s: %s", offer.provider, path, error)
        return matching
