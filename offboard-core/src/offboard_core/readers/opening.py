"""What somebody else recorded, by where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from offboard_client.errors import ConfigurationError, told

from ..checkpoints.remote import fetch, is_url, open_folder
from ..data_sets import EpisodeSource
from ..types import ReportProgress
from .lerobot import LeRobotSource
from .lerobot_files import INFO
from .positronic import PositronicSource, is_positronic
from .published import fetch_published, is_published


def open_source(location: str, names: Mapping[str, str], report: ReportProgress) -> EpisodeSource | None:
    """The data set at a path or URL, or of a name that Positronic publishes one by; None for a path of neither's.

    What is elsewhere is fetched whole, into the cache. ``names``: what ``--map`` says (:func:`.parts.find_parts`).
    Raises ConfigurationError.
    """
    if is_published(location):
        return PositronicSource(fetch_published(location, report), names)
    folder = fetch(open_folder(location), report) if is_url(location) else Path(location).expanduser()
    try:
        if (folder / INFO).is_file():
            return LeRobotSource(folder, names)
        if folder.is_dir() and is_positronic(folder):
            return PositronicSource(folder, names)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be read: {error.strerror or told(error)}") from error
    if (folder / "meta_data").is_dir():
        raise ConfigurationError(f"{location} is a LeRobot data set of the form v1, and v2.1 and v3.0 are read")
    if is_url(location) or (folder / "meta").is_dir():
        raise ConfigurationError(
            f"{location} is no data set that is read here: it has neither {INFO.as_posix()}, as LeRobot's have, "
            "nor numbered folders, as Positronic's have"
        )
    return None
