"""Finding plugins, and what each of them offers.

Each is loaded by itself: what is wrong with one is a cause and one warning. A plugin works as a whole or not at all.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import types
from collections.abc import Iterable, Sequence
from typing import Any

import pluggy
from offboard_client.errors import ConfigurationError, nearest

from . import builtin
from .hooks import GROUP, specifications
from .kinds import KINDS
from .offers import Offer, Provider

log = logging.getLogger(__name__)

#: The plugin whose codecs need no prefix: core itself.
BUILTIN = "core"
#: What a plugin or an entry may be called.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
#: What follows the plugin's name in a name that is whole.
_REST = re.compile(r"(-[A-Za-z0-9._-]+)?")


def core() -> tuple[Provider, Any]:
    """Core's own plugin."""
    version = importlib.metadata.version("offboard-core")
    return Provider(name=BUILTIN, distribution="offboard-core", version=version), builtin


def installed(entry_points: Iterable[importlib.metadata.EntryPoint] | None) -> list[tuple[Provider, Any]]:
    """These plugins, not loaded yet, by name; None: those of this environment."""
    if entry_points is None:
        entry_points = importlib.metadata.entry_points(group=GROUP)
    found: list[tuple[Provider, Any]] = []
    for point in entry_points:
        dist = point.dist
        provider = Provider(
            name=point.name, distribution=dist.name if dist else "", version=dist.version if dist else ""
        )
        found.append((provider, point))
    return sorted(found, key=lambda pair: (pair[0].name, pair[0].distribution))


def load(found: Sequence[tuple[Provider, Any]]) -> tuple[list[Offer[Any]], dict[Provider, str]]:
    """What these plugins (modules, or entry points that name them) offer, and which are broken, with the cause."""
    offers: list[Offer[Any]] = []
    broken: dict[Provider, str] = {}
    for provider, module in found:
        twins = [other for other, _ in found if other.name == provider.name]
        try:
            if len(twins) > 1 and module is not builtin:
                raise ConfigurationError(
                    f"{len(twins)} plugins are called {provider.name!r}: {', '.join(map(str, twins))}; "
                    "uninstall all but one of them"
                )
            if isinstance(module, importlib.metadata.EntryPoint):
                module = module.load()
            offered = _offers(provider, module)
            for offer in offered:
                if other := next((o for o in offers if (o.kind, o.name) == (offer.kind, offer.name)), None):
                    raise ConfigurationError(
                        f"its {offer.kind.noun} {offer.name!r} is called like one of the plugin {other.provider}; "
                        "uninstall one of them"
                    )
            offers += offered
        # SystemExit: a module that leaves the program while it is imported is broken, too.
        except (Exception, SystemExit) as error:
            cause = error.text if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            broken[provider] = " ".join(cause.split())
            log.warning("the plugin %s cannot be used: %s", provider, broken[provider])
    return offers, broken


def _offers(provider: Provider, module: object) -> list[Offer[Any]]:
    """What one plugin offers. Raises whatever is wrong with it."""
    if not NAME.fullmatch(provider.name):
        raise ConfigurationError(f"{provider.name!r} is no plugin name: letters, digits, '-' and '_' only")
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(specifications())
    try:
        manager.register(module, provider.name)
    except pluggy.PluginValidationError as error:
        raise ConfigurationError(f"a hook is declared wrongly: {error}") from error
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        wrong = [hook.name for hook in manager.get_hookcallers(module) or () if not hook.has_spec()]
        near = sorted({hook for name in wrong for hook in nearest(name, KINDS)[:1]})
        raise ConfigurationError(
            f"it implements {', '.join(wrong)}, and there is no such hook"
            + (f"; did you mean {' or '.join(near)}?" if near else f"; the hooks are {', '.join(KINDS)}")
        ) from error
    offers: dict[tuple[str, str], Offer[Any]] = {}
    for hook, kind in KINDS.items():
        implementations = getattr(manager.hook, hook).get_hookimpls()
        if not implementations and isinstance(getattr(module, hook, None), types.FunctionType):
            raise ConfigurationError(f"its function {hook} lacks the decorator @hookimpl")
        for implementation in implementations:
            for entry in _entries(hook, implementation.function):
                if not isinstance(entry, kind.entry):
                    raise ConfigurationError(f"{hook} yields {entry!r}, which is no {kind.entry.__name__}")
                if kind.whole:
                    _check_whole(hook, entry.name, provider.name)
                elif not NAME.fullmatch(entry.name):
                    raise ConfigurationError(
                        f"{hook} yields the name {entry.name!r}: letters, digits, '-' and '_' only; "
                        f"the prefix {provider.name}. is added by itself"
                    )
                offer = Offer(kind=kind, provider=provider, entry=entry)
                if (hook, offer.name) in offers:
                    raise ConfigurationError(f"{hook} yields {offer.name!r} twice; both are from {provider}")
                offers[hook, offer.name] = offer
    return list(offers.values())


def _check_whole(hook: str, name: str, plugin: str) -> None:
    if not (name.startswith(plugin) and _REST.fullmatch(name[len(plugin) :])):
        raise ConfigurationError(
            f"{hook} yields the name {name!r}; expected {plugin!r}, or a name that begins with '{plugin}-' and goes on "
            "with letters, digits, '.', '-' and '_'"
        )


def _entries(hook: str, function: Any) -> Iterable[Any]:
    try:
        yield from function()
    except Exception as error:
        raise ConfigurationError(f"{hook} raised {type(error).__name__}: {error}") from error
