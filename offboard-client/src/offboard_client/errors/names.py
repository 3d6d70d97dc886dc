"""The text of an error about a name that does not exist: what is like it, and what exists."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """At most three of ``names`` that look like ``name``, as a whole or in their last dotted part."""
    import difflib  # it costs more than all else here, and only a mistake needs it

    known = list(names)
    whole = difflib.get_close_matches(name, known, n=3)
    short = difflib.get_close_matches(name.rpartition(".")[2], {n.rpartition(".")[2] for n in known}, n=3)
    return list(dict.fromkeys(whole + [n for n in known if n.rpartition(".")[2] in short]))[:3]


def unknown(what: str, name: str, names: Iterable[str], where: str = "") -> str:
    """The sentence about a ``what`` called ``name`` that does not exist: the nearest names, then all of them."""
    known = sorted(names)
    # Half a name is the beginning of a longer one: so101 of so101_follower.
    near = nearest(name, known) or [longer for longer in known if len(name) > 2 and longer.startswith(name)][:3]
    return (
        f"there is no {what} {name[:200]!r}{f' {where}' if where else ''}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + (f"there are: {', '.join(known)}" if known else "there are none")
    )
