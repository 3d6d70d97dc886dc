"""Data sets that others recorded, as episodes to be converted: LeRobot's (v2.1 and v3.0), and Positronic's own.

They are read as files. Nothing in them is unpickled, and nothing that they name is opened outside their folder.
"""

from __future__ import annotations

from .lerobot import LeRobotEpisode, LeRobotSource
from .opening import open_source
from .parts import Column, Part, advice, find_parts
from .positronic import PositronicEpisode, PositronicSource
from .published import fetch_published, is_published
from .steady import Track, steady

__all__ = [
    "Column",
    "LeRobotEpisode",
    "LeRobotSource",
    "Part",
    "PositronicEpisode",
    "PositronicSource",
    "Track",
    "advice",
    "fetch_published",
    "find_parts",
    "is_published",
    "open_source",
    "steady",
]
