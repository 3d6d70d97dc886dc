"""An entry together with the plugin that offers it: imports what the entry names, and says what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from offboard_client.plugins import Maker, import_attr

from .entries import DemoRecipe, Entry, EntryWithOptions, LoaderEntry
from .kinds import E_co, Kind

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Where a plugin comes from; ``distribution`` and ``version`` are empty for one that was passed in as an object."""

    name: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name


@dataclass(frozen=True, kw_only=True)
class Offer(Generic[E_co]):
    """An entry, of which kind it is, and who offers it."""

    kind: Kind[E_co]
    provider: Provider
    entry: E_co

    @property
    def name(self) -> str:
        """The full name: ``plugin.entry``, or the plugin's own name for an entry that is called like it.

        Of a kind whose names are whole, the entry's.
        """
        plugin = self.provider.name
        if self.kind.whole:
            return self.entry.name
        return plugin if self.entry.name == plugin else f"{plugin}.{self.entry.name}"

    def options(self: Offer[EntryWithOptions[..., Any]]) -> type[Any]:
        """The dataclass of its options. Raises ConfigurationError if that cannot be imported."""
        return self._maker.options(self._maker.resolve(self.entry.options, "options"))

    def make(self: Offer[Entry[P, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the entry's factory makes of these. Raises ConfigurationError, or what the factory says is wrong."""
        made: T = self._maker.make(self.entry.factory, import_attr(self.kind.makes), *args, **kwargs)
        return made

    def recipe(self: Offer[LoaderEntry]) -> DemoRecipe | None:
        """How its model for the demo is made, if it says so. Raises ConfigurationError if that cannot be imported."""
        if self.entry.demo is None:
            return None
        found: DemoRecipe = self._maker.resolve(self.entry.demo, "demo")
        return found

    @property
    def _maker(self) -> Maker:
        return Maker(self.name, f"the plugin {self.provider}")
