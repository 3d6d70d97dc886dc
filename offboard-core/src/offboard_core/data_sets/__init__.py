"""Episodes as a data set for training: where they come from, a codec's training half, and the form that is written."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .seam import DataSetForm, DataSetWriter, EpisodeSource, SourceEpisode, SourceFrame

if TYPE_CHECKING:
    from .conversion import Added, Conversion, check_codec, plain_options
    from .query import Query
    from .record import DataSetRecord, read_data_set
    from .recordings import Recordings
    from .store import RemoteSet
    from .v21 import V21Writer

__all__ = [
    "Added",
    "Conversion",
    "DataSetForm",
    "DataSetRecord",
    "DataSetWriter",
    "EpisodeSource",
    "Query",
    "Recordings",
    "RemoteSet",
    "SourceEpisode",
    "SourceFrame",
    "V21Writer",
    "check_codec",
    "plain_options",
    "read_data_set",
]

#: Imported when first asked for: what declares a form needs neither recordings nor their libraries.
_LATER = {
    "Added": "conversion",
    "Conversion": "conversion",
    "DataSetRecord": "record",
    "Query": "query",
    "Recordings": "recordings",
    "RemoteSet": "store",
    "V21Writer": "v21",
    "check_codec": "conversion",
    "plain_options": "conversion",
    "read_data_set": "record",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
