"""What vendors register, and how it is found: the only room that knows pluggy."""

from __future__ import annotations

from .entries import CodecEntry, Entry, FrontendEntry, LoaderEntry, RegistryEntry, TrainerEntry
from .hooks import GROUP, hookimpl
from .kinds import CODEC, FRONTEND, KINDS, LOADER, REGISTRY, TRAINER, Kind
from .manager import PluginRow, Plugins
from .offers import Offer, Provider

__all__ = [
    "CODEC",
    "FRONTEND",
    "GROUP",
    "KINDS",
    "LOADER",
    "REGISTRY",
    "TRAINER",
    "CodecEntry",
    "Entry",
    "FrontendEntry",
    "Kind",
    "LoaderEntry",
    "Offer",
    "PluginRow",
    "Plugins",
    "Provider",
    "RegistryEntry",
    "TrainerEntry",
    "hookimpl",
]
