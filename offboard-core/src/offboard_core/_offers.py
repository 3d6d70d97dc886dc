"""Entries together with the plugin that offers them: the recipe, and the errors of those who follow it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from offboard_client._names import import_attr
from offboard_client.errors import ConfigurationError, OffboardError

from .hookspecs import CodecEntry, Entry, FrontendEntry, LoaderEntry, RegistryEntry, TrainerEntry
from .training import Trainer
from .types import Checkpoint, CheckpointLoader, Codec, ModelRegistry

if TYPE_CHECKING:
    pass

E = TypeVar("E", bound=Entry)
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
class Offer(Generic[E]):
    """An entry and who offers it."""

    provider: Provider
    entry: E

    @property
    def name(self) -> str:
        """The full name: ``plugin.entry``, or the plugin's own name for an entry that is called like it."""
        plugin = self.provider.name
        return plugin if self.entry.name == plugin else f"{plugin}.{self.entry.name}"

    def _resolve(self, recipe: Any, role: str) -> Any:
        if not isinstance(recipe, str):
            return recipe
        try:
            return import_attr(recipe)
        except Exception as error:
            raise ConfigurationError(
                f"{self.name}: the {role} {recipe!r} of the plugin {self.provider} cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _options(self, options: str | type) -> type[Any]:
        found = self._resolve(options, "options")
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise ConfigurationError(
                f"{self.name}: the options of the plugin {self.provider} are {found!r}, which is no dataclass"
            )
        return found

    def _make(self, recipe: str | Callable[..., Any], kind: type[T], *arguments: Any) -> T:
        factory = self._resolve(recipe, "factory")
        try:
            made = factory(*arguments)
        except OffboardError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{self.name}: the factory of the plugin {self.provider} failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(made, kind):
            raise ConfigurationError(
                f"{self.name}: the factory of the plugin {self.provider} made a {type(made).__name__}, "
                f"which is no {kind.__name__}"
            )
        return made


class CodecOffer(Offer[CodecEntry]):
    """A codec that can be had."""

    def options(self) -> type[Any]:
        """The dataclass of its options. Raises ConfigurationError if that cannot be imported."""
        return self._options(self.entry.options)

    def make(self, options: Any, checkpoint: Checkpoint) -> Codec:
        """The codec for one checkpoint. Raises ConfigurationError, or what the factory says is wrong."""
        return self._make(self.entry.factory, Codec, options, checkpoint)


class LoaderOffer(Offer[LoaderEntry]):
    """A vendor that can serve."""

    def options(self) -> type[Any]:
        """The dataclass of the vendor's own flags. Raises ConfigurationError if that cannot be imported."""
        return self._options(self.entry.options)

    def make(self, options: Any) -> CheckpointLoader:
        """The vendor's loader. Raises ConfigurationError, or what the factory says is wrong."""
        return self._make(self.entry.factory, CheckpointLoader, options)


class RegistryOffer(Offer[RegistryEntry]):
    """A kind of place where checkpoints lie."""

    def make(self, location: str) -> ModelRegistry:
        """The registry of one place. Raises ConfigurationError, or what the factory says is wrong."""
        return self._make(self.entry.factory, ModelRegistry, location)


class FrontendOffer(Offer[FrontendEntry]):
    """A protocol that can be spoken."""

    def options(self) -> type[Any]:
        """The dataclass of its options. Raises ConfigurationError if that cannot be imported."""
        return self._options(self.entry.options)

    def make(self, options: Any, kind: type[T]) -> T:
        """The frontend of one server. Raises ConfigurationError, or what the factory says is wrong.

        ``kind``: :class:`~offboard_core.frontend.Frontend`, which this module is too far below to know.
        """
        return self._make(self.entry.factory, kind, options)


class TrainerOffer(Offer[TrainerEntry]):
    """A vendor that can train."""

    def make(self) -> Trainer:
        """The vendor's trainer. Raises ConfigurationError, or what the factory says is wrong."""
        return self._make(self.entry.factory, Trainer)
