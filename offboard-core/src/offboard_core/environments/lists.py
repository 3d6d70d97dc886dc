"""The list of packages that an environment is made of: pinned, with hashes, without addresses."""

from __future__ import annotations

import hashlib
import importlib.resources
import re
from collections.abc import Iterator
from dataclasses import dataclass

from offboard_client.errors import ConfigurationError

from ..plugins import EnvironmentEntry, Offer

#: A name, an exact version, a marker perhaps, and hashes: nothing that says where from, and no option.
_PINNED = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9.!+_-]+"
    r"(?: ; [\w .'\"<>=!~()*]+?)?(?: +--hash=sha256:[0-9a-f]{64})+"
)


@dataclass(frozen=True)
class Requirements:
    """The lines of a list, and a ``digest`` that no other list has, nor the same one for other Pythons."""

    lines: tuple[str, ...]
    digest: str


def read_list(offer: Offer[EnvironmentEntry]) -> Requirements:
    """The list that an entry names. Raises ConfigurationError for one that is not there, or names no exact files."""
    entry = offer.entry
    what = f"the list of the environment {offer.name}, {entry.requirements} of the plugin {offer.provider},"
    package, colon, path = entry.requirements.partition(":")
    try:
        if not colon:
            raise ValueError("expected PACKAGE:PATH")
        text = importlib.resources.files(package).joinpath(path).read_text("utf-8")
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{what} cannot be read: {error}") from None
    lines = tuple(_joined(text))
    for line in lines:
        if not _PINNED.fullmatch(line):
            raise ConfigurationError(
                f"{what} holds {line!r:.100}; expected NAME==VERSION with --hash=sha256:…, and nothing else"
            )
    if not lines:
        raise ConfigurationError(f"{what} is empty")
    said = "\n".join([entry.python, *lines])
    return Requirements(lines, hashlib.sha256(said.encode()).hexdigest()[:12])


def _joined(text: str) -> Iterator[str]:
    """The requirements, each on one line, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if (words := " ".join(line.split())) and not words.startswith("#"):
            yield words


__all__ = ["Requirements", "read_list"]
