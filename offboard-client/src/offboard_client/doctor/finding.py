"""One thing that was looked at, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``mend``: it costs a robot time or steadiness; ``note``: good to know; ``unknown``: this computer does not say.
Verdict = Literal["fine", "mend", "note", "unknown"]

NOT_KNOWN = "not known here"


@dataclass(frozen=True)
class Finding:
    """``what`` was looked at and what was ``found``; what is ``better``, ``why``, and the ``command`` that makes it so.

    The last three are empty where there is nothing to do. A command is for a person to type, several are lines.
    """

    what: str
    verdict: Verdict
    found: str
    better: str = ""
    why: str = ""
    command: str = ""


def not_known(what: str, why: str = "") -> Finding:
    """What this system does not tell, or not to this process."""
    return Finding(what, "unknown", f"{NOT_KNOWN}: {why}" if why else NOT_KNOWN)
