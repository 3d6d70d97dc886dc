"""What others add: commands, the objects that entry points name, and options as dataclasses and as text."""

from __future__ import annotations

from .commands import Command, UsageError
from .entry_points import import_attr
from .options import build, changeable, describe, parse_value

__all__ = [
    "Command",
    "UsageError",
    "build",
    "changeable",
    "describe",
    "import_attr",
    "parse_value",
]
