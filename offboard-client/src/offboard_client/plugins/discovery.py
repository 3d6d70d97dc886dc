"""Finding what the installed packages offer by the entry points of a group.

A broken one is a row with its cause, and an error only for whoever asks for it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from ..errors import ConfigurationError, told, unknown
from .entries import Chosen, E

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """One entry point of a group in a listing: what it names, or the ``cause`` why that cannot be used."""

    name: str
    provider: str
    entry: T | None
    cause: str = ""


def points(group: str) -> list[EntryPoint]:
    """The entry points of a group, by name. Imports none of them."""
    return sorted(importlib.metadata.entry_points(group=group), key=lambda point: (point.name, provider(point)))


def provider(point: EntryPoint) -> str:
    """Who brings it: a distribution and its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def load(point: EntryPoint, kind: type[T]) -> T:
    """What it names. Raises whatever is wrong with it."""
    found = point.load()
    if not isinstance(found, kind):
        raise TypeError(f"{point.value} is no {kind.__name__}")
    summary: Any = getattr(found, "summary", "")
    if not (isinstance(summary, str) and summary.isprintable()):
        raise TypeError(f"the summary of {point.value} is {summary!r:.60}; expected one line of text")
    return found


def discover(group: str, kind: type[T]) -> list[Found[T]]:
    """Everything that is offered in a group, by name."""
    rows: list[Found[T]] = []
    for point in points(group):
        try:
            rows.append(Found(point.name, provider(point), load(point, kind)))
        except (Exception, SystemExit) as error:
            rows.append(Found(point.name, provider(point), None, told(error)))
    return rows


def asked(found: Found[Any]) -> str:
    """How one of :class:`Entry` is asked for: ``NAME`` or ``NAME:PART``."""
    part: str | None = found.entry.part if found.entry else None
    return found.name if part is None else f"{found.name}:{part}"


def choose(
    text: str, group: str, kind: type[E], noun: str, absent: Callable[[str], str | None] = lambda name: None
) -> Chosen[E]:
    """What ``NAME`` or ``NAME:PART`` asks for. ``noun``: what an error calls it; ``absent``: as in :func:`only`.

    Raises ConfigurationError for a name or a part that there is not, and for one that is broken.
    """
    name, colon, part = text.partition(":")
    point = only(name, group, noun, lambda name: absent(name) or unknown(noun, name, map(asked, discover(group, kind))))
    try:
        entry = load(point, kind)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"the {noun} {name!r} cannot be had: {provider(point)} is broken: {told(error).rstrip('.')}. "
            + ("Install what it imports here" if isinstance(error, ImportError) else "Mend it")
            + ", or another version of it, or uninstall it"
        ) from error
    if colon and (entry.part is None or not part):
        wanted = f"{name}:{entry.part}" if entry.part else f"{name}, without anything after a colon"
        raise ConfigurationError(f"there is no {noun} {text!r}; say {wanted}")
    return Chosen(name, provider(point), entry, part or None)


def only(name: str, group: str, noun: str, absent: Callable[[str], str | None] = lambda name: None) -> EntryPoint:
    """The one entry point of this name. Raises ConfigurationError for none and for several.

    ``absent``: what to say of a name that is not there, instead of which ones are.
    """
    there = points(group)
    found = [point for point in there if point.name == name]
    if len(found) > 1:
        raise ConfigurationError(f"several packages bring the {noun} {name}: {', '.join(map(provider, found))}")
    if not found:
        raise ConfigurationError(absent(name) or unknown(noun, name, {point.name for point in there}))
    return found[0]
