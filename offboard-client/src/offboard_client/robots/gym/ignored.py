"""What of an observation has no name, and is said to have none: keys, and numbers of an array, KEY[a:b]."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import numpy as np

from ...errors import ConfigurationError, unknown

Path = tuple[str, ...]
Numbers = tuple[str, slice]
_NUMBERS = re.compile(r"(.*)\[(\d{1,9}):(\d{1,9})\]")


def split_ignored(ignore: Iterable[str]) -> tuple[frozenset[str], list[Numbers]]:
    """The keys, and what is ``KEY[a:b]``: of the array under that key, from its number a to before its number b."""
    keys, numbers = set[str](), list[Numbers]()
    for each in ignore:
        if said := _NUMBERS.fullmatch(each):
            numbers.append((said[1], slice(int(said[2]), int(said[3]))))
        else:
            keys.add(each)
    return frozenset(keys), numbers


def check_read(
    shapes: Mapping[Path, tuple[int, ...]], parts: Iterable[tuple[Path, slice | None]], ignored: Iterable[Numbers]
) -> None:
    """Raises ConfigurationError where a number has no name, or two of which each is a part of the array only.

    ``shapes``: of the arrays that are read; ``parts``: what is read of them, None for all; ``ignored``: what is not.
    """
    times = {path: np.zeros(shape, int) for path, shape in shapes.items()}
    named = {path for path, cut in parts if cut is None}
    paths = {".".join(path): path for path in shapes}
    cuts = [(path, cut) for path, cut in parts if cut is not None]
    for key, cut in ignored:
        if key not in paths:
            raise ConfigurationError(f"ignore: {unknown('key', key, paths)}")
        if len(shape := shapes[paths[key]]) != 1 or not cut.start < cut.stop <= shape[0]:
            raise ConfigurationError(
                f"ignore names {_numbers(key, cut.start, cut.stop)} of an array of the shape {shape}; expected "
                "[from:to] of one row of numbers"
            )
        cuts.append((paths[key], cut))
    for path, cut in cuts:
        times[path][cut] += 1
    for path, counts in times.items():
        key = ".".join(path)
        if counts.max(initial=0) > 1:
            raise ConfigurationError(
                f"number {int(counts.argmax())} of {key or 'the observation'} has more than one name in [observation] "
                "and ignore; each has one, but for a name of all of it, which has no slice"
            )
        if path not in named and (free := counts.reshape(-1) == 0).any():
            first = int(free.argmax())
            last = first + int(np.append(free[first:], False).argmin())
            said = _numbers(key, first, last)
            raise ConfigurationError(
                f"{said} of the observation, {'a number' if last == first + 1 else 'numbers'}, has no name in "
                f"[observation]; name it, or say ignore = {json.dumps([said])}"
            )


def _numbers(key: str, start: int, stop: int) -> str:
    return f"{key}[{start}:{stop}]"
