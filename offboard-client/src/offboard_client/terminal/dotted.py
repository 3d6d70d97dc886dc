"""Options that belong to somebody who is found by other options, so that no command declares them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..plugins import UsageError, parse_flag


def split_dotted(arguments: Sequence[str], owners: Iterable[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The arguments without ``--OWNER.NAME VALUE`` and ``--OWNER.NAME=VALUE``, and what these say, by owner.

    A value is a JSON literal (see :func:`~..plugins.parse_flag`), ``FROM=TO`` (an entry of a map, may be repeated), or
    text.
    """
    longest_first = sorted(owners, key=len, reverse=True)
    rest: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        owner = next((owner for owner in longest_first if argument.startswith(f"--{owner}.")), None)
        if owner is None:
            rest.append(argument)
            continue
        name, equals, text = argument.partition("=")
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise UsageError(f"{argument} needs a value")
            text = queue.pop(0)
        name = name.removeprefix(f"--{owner}.").replace("-", "_")
        if not name:
            raise UsageError(f"{argument} names no option")
        _add(found.setdefault(owner, {}), f"--{owner}.{name}", name, text)
    return rest, found


def _add(options: dict[str, Any], shown: str, name: str, text: str) -> None:
    value = parse_flag(text)
    key, is_entry, entry = text.partition("=")
    if value == text and is_entry:
        entries = options.setdefault(name, {})
        if not isinstance(entries, dict) or key in entries:
            raise UsageError(f"{shown} says twice what {key} is")
        entries[key] = entry
    elif name in options:
        raise UsageError(f"{shown} is given twice")
    else:
        options[name] = value
