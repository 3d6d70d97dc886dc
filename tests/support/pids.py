"""What a process does, by its id."""

from __future__ import annotations

from pathlib import Path


def state(pid: int) -> str | None:
    """The letter that Linux has for it (proc(5)); None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it ended before, or while, this was read
        return None


def alive(pid: int) -> bool:
    """Whether it has not ended; one that nobody has waited for has."""
    return state(pid) not in (None, "Z")
