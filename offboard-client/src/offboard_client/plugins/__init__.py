"""What others add by entry points: commands and other entries, what these name, and options as dataclasses and text."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .commands import Command, UsageError
from .entries import Chosen, Entry, Maker, NoOptions
from .entry_points import import_attr
from .options import build, changeable, check_options, describe, parse_flag, parse_value

if TYPE_CHECKING:
    from .discovery import Found, asked, choose, discover, load, only, points, provider

__all__ = [
    "Chosen",
    "Command",
    "Entry",
    "Found",
    "Maker",
    "NoOptions",
    "UsageError",
    "asked",
    "build",
    "changeable",
    "check_options",
    "choose",
    "describe",
    "discover",
    "import_attr",
    "load",
    "only",
    "parse_flag",
    "parse_value",
    "points",
    "provider",
]

#: Imported when first asked for: what declares an entry needs no list of what is installed.
_LATER = dict.fromkeys(("Found", "asked", "choose", "discover", "load", "only", "points", "provider"), "discovery")


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
