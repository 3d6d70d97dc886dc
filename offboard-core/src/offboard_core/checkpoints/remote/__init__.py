"""Checkpoints that lie elsewhere (``s3://``, ``gs://``, ``hf://``): listed there, fetched into a cache when loaded.

fsspec does the talking; it and what a scheme needs are imported on first use (extras ``remote``, ``s3``, ``gs``).
What a place names is data: a name that would lead out of the cache is refused.
"""

from __future__ import annotations

from .cache import fetch, place_of
from .folder import RemoteFile, RemoteFolder, is_url
from .hub import HubFolder, open_folder
from .places import RemotePlace, open_place

__all__ = [
    "HubFolder",
    "RemoteFile",
    "RemoteFolder",
    "RemotePlace",
    "fetch",
    "is_url",
    "open_folder",
    "open_place",
    "place_of",
]
