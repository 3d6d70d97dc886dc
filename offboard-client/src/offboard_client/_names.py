"""What to say, and what to import, when somebody gives a name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """At most three of ``names`` that look like ``name``, as a whole or in their last dotted part."""
    known = list(names)
    whole = difflib.get_close_matches(name, known, n=3)
    short = difflib.get_close_matches(name.rpartition(".")[2], {n.rpartition(".")[2] for n in known}, n=3)
    return list(dict.fromkeys(whole + [n for n in known if n.rpartition(".")[2] in short]))[:3]


def unknown(what: str, name: str, names: Iterable[str], where: str = "") -> str:
    """The sentence about a ``what`` called ``name`` that does not exist: the nearest names, then all of them."""
    known = sorted(names)
    near = nearest(name, known)
    return (
        f"there is no {what} {name[:200]!r}{f' {where}' if where else ''}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + (f"there are: {', '.join(known)}" if known else "there are none")
    )


def import_attr(path: str) -> Any:
    """The object that ``"module:attr"`` names. Raises ImportError that says which half is wrong."""
    module, _, attr = path.partition(":")
    if not module or not attr:
        raise ImportError(f"{path!r} is not of the form 'module:attr'")
    found: Any = importlib.import_module(module)
    for part in attr.split("."):
        if not hasattr(found, part):
            raise ImportError(f"the module {module} has no {attr!r}", name=module)
        found = getattr(found, part)
    return found
