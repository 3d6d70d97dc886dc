"""The ``offboard`` command, and the client's own: ``models``, ``probe``, ``bench``, ``run``, ``evaluate`` …"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .main import main

if TYPE_CHECKING:
    from .contract import show_contract, show_spec
    from .evaluate_judge import read_judgement
    from .positronic import from_positronic
    from .probe import show_handshake
    from .run import play, show, status
    from .run_display import Display, table
    from .run_dry import DryRun
    from .run_keyboard import Keyboard
    from .run_options import RunOptions, ServersPolicy, parse_run
    from .run_timings import COLUMNS, Timings
    from .synthetic import synthetic_observation
    from .validate import validating

__all__ = [
    "COLUMNS",
    "Display",
    "DryRun",
    "Keyboard",
    "RunOptions",
    "ServersPolicy",
    "Timings",
    "from_positronic",
    "main",
    "parse_run",
    "play",
    "read_judgement",
    "show",
    "show_contract",
    "show_handshake",
    "show_spec",
    "status",
    "synthetic_observation",
    "table",
    "validating",
]

#: Imported when first asked for, since they import libraries that not everybody has.
_LATER = {
    "DryRun": "run_dry",
    "RunOptions": "run_options",
    "ServersPolicy": "run_options",
    "parse_run": "run_options",
    "from_positronic": "positronic",
    "Keyboard": "run_keyboard",
    "play": "run",
    "show": "run",
    "status": "run",
    "Display": "run_display",
    "table": "run_display",
    "COLUMNS": "run_timings",
    "Timings": "run_timings",
    "synthetic_observation": "synthetic",
    "validating": "validate",
    "read_judgement": "evaluate_judge",
    "show_contract": "contract",
    "show_spec": "contract",
    "show_handshake": "probe",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
