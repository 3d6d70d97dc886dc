"""Episodes as a data set for training: where they come from, a codec's training half, and the form that is written."""

from __future__ import annotations

from .seam import DataSetForm, DataSetWriter, EpisodeSource, SourceEpisode, SourceFrame
from .v21 import V21Writer

__all__ = [
    "DataSetForm",
    "DataSetWriter",
    "EpisodeSource",
    "SourceEpisode",
    "SourceFrame",
    "V21Writer",
]
