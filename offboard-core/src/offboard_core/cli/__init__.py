"""The commands that core adds to ``offboard``."""

from __future__ import annotations

from .serve import announce, fits_simulation
from .serve_options import ServeOptions, parse_serve, split_dotted
from .train import TrainingLine, record_of

__all__ = [
    "ServeOptions",
    "TrainingLine",
    "announce",
    "fits_simulation",
    "parse_serve",
    "record_of",
    "split_dotted",
]
