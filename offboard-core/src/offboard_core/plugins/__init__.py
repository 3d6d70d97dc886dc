"""What vendors register, and how it is found: the only room that knows pluggy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .entries import (
    CodecEntry,
    DataSetEntry,
    DemoRecipe,
    Described,
    Entry,
    EnvironmentEntry,
    FrontendEntry,
    ListenerEntry,
    LoaderEntry,
    ObserverEntry,
    RegistryEntry,
    TrainerEntry,
)
from .hooks import GROUP, hookimpl
from .kinds import (
    CODEC,
    DATA_SET,
    ENVIRONMENT,
    FRONTEND,
    KINDS,
    LISTENER,
    LOADER,
    OBSERVER,
    REGISTRY,
    TRAINER,
    Kind,
)
from .offers import Offer, Provider

if TYPE_CHECKING:
    from .manager import PluginRow, Plugins

__all__ = [
    "CODEC",
    "DATA_SET",
    "ENVIRONMENT",
    "FRONTEND",
    "GROUP",
    "KINDS",
    "LISTENER",
    "LOADER",
    "OBSERVER",
    "REGISTRY",
    "TRAINER",
    "CodecEntry",
    "DataSetEntry",
    "DemoRecipe",
    "Described",
    "Entry",
    "EnvironmentEntry",
    "FrontendEntry",
    "Kind",
    "ListenerEntry",
    "LoaderEntry",
    "ObserverEntry",
    "Offer",
    "PluginRow",
    "Plugins",
    "Provider",
    "RegistryEntry",
    "TrainerEntry",
    "hookimpl",
]

#: Imported when first asked for: what registers needs no list of what is installed.
_LATER = {"PluginRow": "manager", "Plugins": "manager"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
