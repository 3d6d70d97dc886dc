"""Checkpoints that lie elsewhere (``s3://``, ``gs://``, ``hf://``): listed there, fetched into a cache when loaded.

fsspec does the talking; it and what a scheme needs are imported on first use (extras ``remote``, ``s3``, ``gs``).
What a place names is data: a name that would lead out of the cache is refused.
"""

from __future__ import annotations

from .cache import PATIENCE, cache_folder, fetch, place_of
from .folder import RemoteFile, RemoteFolder, is_url
from .hub import HubFolder, open_folder

__all__ = [
    "PATIENCE",
    "HubFolder",
    "RemoteFile",
    "RemoteFolder",
    "cache_folder",
    "fetch",
    "is_url",
    "open_folder",
    "place_of",
]
