"""An entry together with the plugin that offers it: imports what the entry names, and says what is wrong with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from offboard_client.errors import ConfigurationError, OffboardError
from offboard_client.plugins import import_attr

from .entries import Entry, EntryWithOptions
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
        """The full name: ``plugin.entry``, or the plugin's own name for an entry that is called like it."""
        plugin = self.provider.name
        return plugin if self.entry.name == plugin else f"{plugin}.{self.entry.name}"

    def options(self: Offer[EntryWithOptions[..., Any]]) -> type[Any]:
        """The dataclass of its options. Raises ConfigurationError if that cannot be imported."""
        found = self._resolve(self.entry.options, "options")
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise ConfigurationError(
                f"{self.name}: the options of the plugin {self.provider} are {found!r}, which is no dataclass"
            )
        return found

    def make(self: Offer[Entry[P, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the entry's factory makes of these. Raises ConfigurationError, or what the factory says is wrong."""
        factory = self._resolve(self.entry.factory, "factory")
        try:
            made = factory(*args, **kwargs)
        except OffboardError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{self.name}: the factory of the plugin {self.provider} failed: {type(error).__name__}: {error}"
            ) from error
        expected = import_attr(self.kind.makes)
        if not isinstance(made, expected):
            raise ConfigurationError(
                f"{self.name}: the factory of the plugin {self.provider} made a {type(made).__name__}, "
                f"which is no {expected.__name__}"
            )
        return made

    def _resolve(self, named: Any, role: str) -> Any:
        if not isinstance(named, str):
            return named
        try:
            return import_attr(named)
        except Exception as error:
            raise ConfigurationError(
                f"{self.name}: the {role} {named!r} of the plugin {self.provider} cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error
