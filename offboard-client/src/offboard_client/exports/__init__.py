"""What recordings become beside files of their own: data sets of whole attempts, by the forms that packages bring."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .entries import Added, DataSet, ExportEntry, choose_export, list_exports, make_data_set

if TYPE_CHECKING:
    from .attempts import Attempt, choose_attempts, recordings_in, unfinished
    from .clock import by_robots_clock
    from .growing import Growing
    from .layout import Layout, Numbers, channels_of, difference, layout_for, layout_of, names_of
    from .options import SteadyOptions
    from .origins import origin_of
    from .positronic_names import OUTCOMES, name_of
    from .steady import SteadyFrame, SteadyFrames, recorded_rate

__all__ = [
    "Added",
    "Attempt",
    "DataSet",
    "ExportEntry",
    "Growing",
    "Layout",
    "Numbers",
    "OUTCOMES",
    "SteadyFrame",
    "SteadyFrames",
    "SteadyOptions",
    "by_robots_clock",
    "channels_of",
    "choose_attempts",
    "choose_export",
    "difference",
    "layout_for",
    "layout_of",
    "list_exports",
    "make_data_set",
    "name_of",
    "names_of",
    "origin_of",
    "recorded_rate",
    "recordings_in",
    "unfinished",
]

#: Imported when first asked for: what declares a form needs neither recordings nor their libraries.
_LATER = {
    "Attempt": "attempts",
    "Growing": "growing",
    "Layout": "layout",
    "Numbers": "layout",
    "OUTCOMES": "positronic_names",
    "SteadyFrame": "steady",
    "SteadyFrames": "steady",
    "SteadyOptions": "options",
    "by_robots_clock": "clock",
    "channels_of": "layout",
    "choose_attempts": "attempts",
    "difference": "layout",
    "layout_for": "layout",
    "layout_of": "layout",
    "name_of": "positronic_names",
    "names_of": "layout",
    "origin_of": "origins",
    "recorded_rate": "steady",
    "recordings_in": "attempts",
    "unfinished": "attempts",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
