"""The data sets that Positronic publishes, by the names that its commands have for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, unknown

from ..checkpoints.remote import RemoteFolder, fetch, place_of
from ..types import ReportProgress
from .positronic import PositronicSource

#: Where they are, for everybody, and how an S3 client is told so.
_ENDPOINT, _REGION, _BUCKET = "https://storage.eu-north1.nebius.cloud", "eu-north1", "positronic-public"
_ROOT = f"s3://{_BUCKET}"
_OPTIONS: Mapping[str, Any] = {"anon": True, "client_kwargs": {"endpoint_url": _ENDPOINT, "region_name": _REGION}}
_NAME = re.compile(r"@positronic\.cfg(?:\.\w+)*\.(\w+)")


#: Each one's places in the bucket, of which the first counts that is there; and how many episodes it has.
_SETS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "phail": (("datasets/phail/v1.0/training", "phail/v1.0/dataset/teleoperation"), 352),
    "sim_stack_cubes": (("datasets/sim-stack-cubes",), 317),
    "sim_pick_place": (("datasets/sim-pick-place",), 214),
}


def is_published(location: str) -> bool:
    """Whether it is such a name: ``@positronic.cfg.ds.phail.phail``."""
    return location.startswith("@")


def fetch_published(name: str, report: ReportProgress) -> Path:
    """The folder of that name in the cache, fetched unless it is there. Raises ConfigurationError."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in _SETS:
        known = (f"@positronic.cfg.ds.phail.{each}" for each in _SETS)
        raise ConfigurationError(
            f"{unknown('data set', name, known, 'that Positronic publishes')}. One that is here is named by its folder"
        )
    (places, episodes), why = _SETS[match[1]], ""
    for place in places:
        url = f"{_ROOT}/{place}"
        try:
            return fetch(RemoteFolder(url, _OPTIONS), report)
        except ConfigurationError as error:
            why = why or error.text
    for folder in _here(places):
        if _count(folder) == episodes:  # nothing else tells whether it is whole
            return folder
    url = f"{_ROOT}/{places[0]}"
    raise ConfigurationError(
        f"{name} lies at {url}, and cannot be fetched: {why}. Where there is a network: `aws s3 sync --no-sign-request "
        f"--endpoint-url {_ENDPOINT} {url} DIR`; then convert DIR"
    )


def _here(places: Sequence[str]) -> list[Path]:
    """Where it may be from before: in this cache, or in that of Positronic's own commands."""
    theirs = Path("~/.cache/positronic/s3").expanduser() / _BUCKET / _BUCKET
    return [folder for place in places for folder in (place_of(f"{_ROOT}/{place}"), theirs / place)]


def _count(folder: Path) -> int:
    try:
        return len(PositronicSource(folder, {}).episodes()) if folder.is_dir() else 0
    except ConfigurationError:
        return 0
