"""Which plugins are installed and what they offer. The only module that knows pluggy.

Each plugin is loaded by itself: what is wrong with one is a row with a cause and one warning, and an error
only for whoever asks for that plugin. A plugin works as a whole or not at all.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pluggy
from offboard_client._names import nearest, unknown
from offboard_client.errors import ConfigurationError

from . import _builtin, hookspecs
from ._offers import CodecOffer, FrontendOffer, LoaderOffer, Offer, Provider, RegistryOffer, TrainerOffer
from .hookspecs import CodecEntry, Entry, FrontendEntry, LoaderEntry, RegistryEntry, TrainerEntry
from .registries import nearby, what_is_there

log = logging.getLogger(__name__)

#: The entry-point group of plugins.
GROUP = "offboard"
#: The plugin whose codecs need no prefix: core itself.
BUILTIN = "core"

_HOOKS: dict[str, tuple[type[Entry], type[Offer[Any]]]] = {
    "offboard_codecs": (CodecEntry, CodecOffer),
    "offboard_checkpoint_loaders": (LoaderEntry, LoaderOffer),
    "offboard_model_registries": (RegistryEntry, RegistryOffer),
    "offboard_frontends": (FrontendEntry, FrontendOffer),
    "offboard_trainers": (TrainerEntry, TrainerOffer),
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_POSITRONIC = re.compile(r"@(?:\w+\.)*(?P<module>\w+)\.codecs\.(?P<name>\w+)")
_HERE = " in this environment (`offboard plugins` lists what is)"

O = TypeVar("O", bound=Offer[Any])  # noqa: E741


@dataclass(frozen=True, kw_only=True)
class PluginRow:
    """One plugin in a listing: what it offers by full name, or the ``cause`` why it offers nothing."""

    provider: Provider
    loaders: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    frontends: tuple[str, ...] = ()
    trainers: tuple[str, ...] = ()
    cause: str | None = None


class Plugins:
    """The plugins of one program, and typed ways to ask for what they offer."""

    def __init__(self, offers: Iterable[Offer[Any]], providers: Sequence[Provider], broken: Mapping[Provider, str]):
        """Use :meth:`discover` or :meth:`of`."""
        everything = list(offers)
        self._loaders = {o.name: o for o in everything if isinstance(o, LoaderOffer)}
        self._codecs = {o.name: o for o in everything if isinstance(o, CodecOffer)}
        self._registries = {o.name: o for o in everything if isinstance(o, RegistryOffer)}
        self._frontends = {o.name: o for o in everything if isinstance(o, FrontendOffer)}
        self._trainers = {o.name: o for o in everything if isinstance(o, TrainerOffer)}
        self._providers = tuple(providers)
        self._broken = dict(broken)

    @classmethod
    def discover(cls, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> Plugins:
        """Load core's own plugin and every installed one; never raises for a plugin that is broken.

        ``entry_points``: what to load instead of the group ``offboard`` of this environment.
        """
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=GROUP)
        found: list[tuple[Provider, Any]] = []
        for point in entry_points:
            dist = point.dist
            provider = Provider(
                name=point.name, distribution=dist.name if dist else "", version=dist.version if dist else ""
            )
            found.append((provider, point))
        found.sort(key=lambda pair: (pair[0].name, pair[0].distribution))
        return cls._load([(_core(), _builtin), *found])

    @classmethod
    def of(cls, **plugins: object) -> Plugins:
        """Core's own plugin and these modules (or other objects with hook implementations), by plugin name."""
        return cls._load([(_core(), _builtin), *((Provider(name=name), module) for name, module in plugins.items())])

    @classmethod
    def _load(cls, found: Sequence[tuple[Provider, Any]]) -> Plugins:
        offers: list[Offer[Any]] = []
        broken: dict[Provider, str] = {}
        for provider, module in found:
            twins = [other for other, _ in found if other.name == provider.name]
            try:
                if len(twins) > 1 and module is not _builtin:
                    raise ConfigurationError(
                        f"{len(twins)} plugins are called {provider.name!r}: {', '.join(map(str, twins))}; "
                        "uninstall all but one of them"
                    )
                if isinstance(module, importlib.metadata.EntryPoint):
                    module = module.load()
                offers += _offers(provider, module)
            # SystemExit: a module that leaves the program while it is imported is broken, too.
            except (Exception, SystemExit) as error:
                cause = error.text if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
                broken[provider] = " ".join(cause.split())
                log.warning("the plugin %s cannot be used: %s", provider, broken[provider])
        return cls(offers, [provider for provider, _ in found], broken)

    def loader(self, name: str) -> LoaderOffer:
        """The vendor of this name. Raises ConfigurationError: no such vendor, or its plugin is broken and why."""
        return self._find(self._loaders, "vendor", name, None)

    def codec(self, name: str, vendor: str | None = None) -> CodecOffer:
        """A codec by its full name, else by its short name at this vendor, else in core.

        ``@package.module.codecs.NAME`` is how Positronic's command lines write NAME: the codec of the vendor whose
        module that is, if there is one, else NAME. Raises ConfigurationError naming the nearest.
        """
        if written := _POSITRONIC.fullmatch(name):
            full = f"{written['module']}.{written['name']}"
            name = full if full in self._codecs else written["name"]
        return self._find(self._codecs, "codec", name, vendor)

    def registry(self, name: str, vendor: str | None = None) -> RegistryOffer:
        """A registry, named like a codec. Raises ConfigurationError naming the nearest."""
        return self._find(self._registries, "registry", name, vendor)

    def frontend(self, name: str) -> FrontendOffer:
        """A frontend by its full name. Raises ConfigurationError naming the nearest."""
        return self._find(self._frontends, "frontend", name, None)

    def trainer(self, name: str) -> TrainerOffer:
        """The vendor's training, by the vendor's full name. Raises ConfigurationError naming the nearest."""
        return self._find(self._trainers, "vendor that trains", name, None)

    def loaders(self) -> list[LoaderOffer]:
        """Every vendor that can serve, by full name."""
        return [self._loaders[name] for name in sorted(self._loaders)]

    def codecs(self) -> list[CodecOffer]:
        """Every codec, by full name."""
        return [self._codecs[name] for name in sorted(self._codecs)]

    def frontends(self) -> list[FrontendOffer]:
        """Every frontend, by full name."""
        return [self._frontends[name] for name in sorted(self._frontends)]

    def trainers(self) -> list[TrainerOffer]:
        """Every vendor that can train, by full name."""
        return [self._trainers[name] for name in sorted(self._trainers)]

    def rows(self) -> list[PluginRow]:
        """One row per plugin: core first, then the others by name."""

        def of(provider: Provider, offers: Mapping[str, Offer[Any]]) -> tuple[str, ...]:
            return tuple(name for name, offer in offers.items() if offer.provider == provider)

        return [
            PluginRow(
                provider=provider,
                loaders=of(provider, self._loaders),
                codecs=of(provider, self._codecs),
                registries=of(provider, self._registries),
                frontends=of(provider, self._frontends),
                trainers=of(provider, self._trainers),
                cause=self._broken.get(provider),
            )
            for provider in self._providers
        ]

    def recognise(self, path: Path) -> str:
        """The full name of the one vendor that knows these files.

        Raises ConfigurationError naming the vendors that looked, if none or several of them do.
        """
        asked = [offer.name for offer in self.loaders() if offer.entry.recognises is not None]
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
        for offer in self.loaders():
            try:
                if offer.entry.recognises is not None and offer.entry.recognises(path):
                    matching.append(offer.name)
            except Exception as error:
                log.warning("the plugin %s could not look at %s: %s", offer.provider, path, error)
        return matching

    def _find(self, offers: Mapping[str, O], kind: str, name: str, vendor: str | None) -> O:
        for full in (name, f"{vendor}.{name}", f"{BUILTIN}.{name}"):
            if full in offers:
                return offers[full]
        for provider, cause in self._broken.items():
            if provider.name == name.partition(".")[0]:
                raise ConfigurationError(f"the {kind} {name!r} cannot be had: the plugin {provider} is broken: {cause}")
        hint = ""
        if kind == "vendor" and not nearest(name, offers) and _NAME.fullmatch(name):
            installed = any(provider.name == name for provider in self._providers)
            hint = f"; the plugin {name} serves nothing yet" if installed else f"; is offboard-{name} installed{_HERE}?"
        raise ConfigurationError(unknown(kind, name, offers) + hint)


def _core() -> Provider:
    return Provider(name=BUILTIN, distribution="offboard-core", version=importlib.metadata.version("offboard-core"))


def _offers(provider: Provider, module: object) -> list[Offer[Any]]:
    """What one plugin offers. Raises whatever is wrong with it."""
    if not _NAME.fullmatch(provider.name):
        raise ConfigurationError(f"{provider.name!r} is no plugin name: letters, digits, '-' and '_' only")
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, provider.name)
    except pluggy.PluginValidationError as error:
        raise ConfigurationError(f"a hook is declared wrongly: {error}") from error
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        wrong = [hook.name for hook in manager.get_hookcallers(module) or () if not hook.has_spec()]
        near = sorted({hook for name in wrong for hook in nearest(name, _HOOKS)[:1]})
        raise ConfigurationError(
            f"it implements {', '.join(wrong)}, and there is no such hook"
            + (f"; did you mean {' or '.join(near)}?" if near else f"; the hooks are {', '.join(_HOOKS)}")
        ) from error
    offers: dict[tuple[str, str], Offer[Any]] = {}
    for hook, (entry_type, offer_type) in _HOOKS.items():
        implementations = getattr(manager.hook, hook).get_hookimpls()
        if not implementations and isinstance(getattr(module, hook, None), types.FunctionType):
            raise ConfigurationError(f"its function {hook} lacks the decorator @hookimpl")
        for implementation in implementations:
            for entry in _entries(hook, implementation.function):
                if not isinstance(entry, entry_type):
                    raise ConfigurationError(f"{hook} yields {entry!r}, which is no {entry_type.__name__}")
                if not _NAME.fullmatch(entry.name):
                    raise ConfigurationError(
                        f"{hook} yields the name {entry.name!r}: letters, digits, '-' and '_' only; "
                        f"the prefix {provider.name}. is added by itself"
                    )
                offer = offer_type(provider=provider, entry=entry)
                if (hook, offer.name) in offers:
                    raise ConfigurationError(f"{hook} yields {offer.name!r} twice; both are from {provider}")
                offers[hook, offer.name] = offer
    return list(offers.values())


def _entries(hook: str, function: Any) -> Iterable[Any]:
    try:
        yield from function()
    except Exception as error:
        raise ConfigurationError(f"{hook} raised {type(error).__name__}: {error}") from error
