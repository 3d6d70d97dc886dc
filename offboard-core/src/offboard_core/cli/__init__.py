"""The commands that core adds to ``offboard``: ``serve``, ``demo``, ``codecs``, ``convert``, ``train`` and more."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .convert_options import ConvertOptions, parse_convert
    from .demo_recipe import checkpoints_of
    from .positronic_convert import from_positronic
    from .serve import announce, fits_simulation
    from .serve_options import ServeOptions, parse_serve
    from .serve_timings import SERVE_COLUMNS, ServeTimings, TimingsOptions
    from .train import TrainingLine, record_of

__all__ = [
    "ConvertOptions",
    "SERVE_COLUMNS",
    "ServeOptions",
    "ServeTimings",
    "TimingsOptions",
    "TrainingLine",
    "announce",
    "checkpoints_of",
    "fits_simulation",
    "from_positronic",
    "parse_convert",
    "parse_serve",
    "record_of",
]

#: Imported when first asked for: ``offboard --help`` reads the declarations beside them and nothing else.
_LATER = {
    "ConvertOptions": "convert_options",
    "SERVE_COLUMNS": "serve_timings",
    "ServeOptions": "serve_options",
    "ServeTimings": "serve_timings",
    "TimingsOptions": "serve_timings",
    "TrainingLine": "train",
    "announce": "serve",
    "checkpoints_of": "demo_recipe",
    "fits_simulation": "serve",
    "from_positronic": "positronic_convert",
    "parse_convert": "convert_options",
    "parse_serve": "serve_options",
    "record_of": "train",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
