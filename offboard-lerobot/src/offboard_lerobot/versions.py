"""The releases of LeRobot that are served, what each knows, and which of them is installed.

``releases.json`` holds what two releases know, as ``tools/lerobot_fields.py`` read it out of them; so what a checkpoint
needs is seen without LeRobot, and for one that is not installed here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files as resources
from typing import Any

from offboard_client.errors import LoadFailed

from .words import NO_POLICIES

#: How LeRobot gets into the environment that this package is in.
INSTALL = "pip install 'offboard-lerobot[lerobot]'"


@dataclass(frozen=True)
class Release:
    """A release of LeRobot. ``types``: policy type → field of its config → default; ``steps``: name → options.

    ``rtc_config``: field of it → default. ``own_steps``: as ``steps``, what third parties'
    packages have registered beside them.
    """

    name: str
    types: Mapping[str, Mapping[str, Any]]
    steps: Mapping[str, Sequence[str]]
    features: Sequence[str]
    normalizations: Sequence[str]
    rtc_config: Mapping[str, Any]
    own_steps: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @property
    def served(self) -> list[str]:
        """The policy types that drive something, by name."""
        return sorted(self.types.keys() - NO_POLICIES.keys())

    @property
    def environment(self) -> str:
        """What an environment with this release is called (``lerobot-0.6``)."""
        return f"lerobot-{'.'.join(self.name.split('.')[:2])}"


@functools.cache
def releases() -> tuple[Release, ...]:
    """Those that are served, oldest first."""
    table = json.loads(resources("offboard_lerobot").joinpath("releases.json").read_text("utf-8"))
    return tuple(Release(name, **row) for name, row in table.items())


@functools.cache
def installed() -> Release:
    """What the LeRobot of this environment knows. Raises LoadFailed where there is none, or one that is not served."""
    old, new = releases()
    try:
        there = version("lerobot")
    except PackageNotFoundError:
        raise LoadFailed(f"LeRobot is not installed here: {INSTALL}", permanent=True) from None
    major, minor = (int(part) for part in there.split(".")[:2])
    if (major, minor) == (0, 4):
        return old
    if (major, minor) >= (0, 6):
        return new
    raise LoadFailed(
        f"this is LeRobot {there}; {old.name} and {new.name} are served. Install one of them", permanent=True
    )


def served() -> list[str]:
    """The policy types that the installed LeRobot brings, by name. Raises LoadFailed as :func:`installed`."""
    return installed().served


def wrote(config: Mapping[str, Any], steps: Mapping[str, Sequence[Mapping[str, Any]]]) -> Release | None:
    """The release whose names are in a checkpoint, or one near it; None where none or several are told.

    ``steps``: file → its processing steps. LeRobot writes every field of its config, so a newer one shows.
    """
    found = {release.name for release in releases() for _ in _names_of(release, config, steps)}
    return next((release for release in releases() if {release.name} == found), None)


def who_wrote(config: Mapping[str, Any], steps: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Who wrote a checkpoint, for people."""
    old, new = releases()
    release = wrote(config, steps)
    if release is new:
        return "LeRobot 0.6 or newer"
    return "LeRobot 0.4 or 0.5" if release is old else "another version of LeRobot"


def _names_of(
    release: Release, config: Mapping[str, Any], steps: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    """What of a checkpoint this release knows, and no other that is served."""
    others = [each for each in releases() if each is not release]
    kind = config["type"]
    for name in config if kind in release.types else ():
        if name in release.types[kind] and not any(name in other.types.get(kind, ()) for other in others):
            yield name
    for step in (step for listed in steps.values() for step in listed):
        name = step.get("registry_name")
        if name in release.steps and not any(name in other.steps for other in others):
            yield str(name)
