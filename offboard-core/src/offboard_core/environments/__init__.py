"""Environments: what a vendor's models need, made by uv of a list in the vendor's package, kept in the cache.

An environment holds dependencies alone; offboard's own packages are the server's. It is made whole or not at all,
by one process, and used again without uv and without a network.
"""

from __future__ import annotations

from .choice import available, choose, described, maker
from .folders import Made, added, leftovers, made, place_of, remove, remove_leftover
from .lists import Requirements, read_list
from .making import make

__all__ = [
    "Made",
    "Requirements",
    "added",
    "available",
    "choose",
    "described",
    "leftovers",
    "made",
    "make",
    "maker",
    "place_of",
    "read_list",
    "remove",
    "remove_leftover",
]
