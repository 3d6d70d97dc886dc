"""Where a model is that is not in the server's own process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The process that has a model.

    ``pid``: None while there is none. ``python``: its version, such as ``3.12.1``, or ``3.12`` where no more is
    known; "" where nothing is. ``environment``: the name of the
    environment that it was started in; "" for one without a name. ``memory_bytes``: what it holds of the machine's
    memory now; None where nothing tells.
    """

    pid: int | None
    python: str
    environment: str = ""
    memory_bytes: int | None = None


__all__ = ["Elsewhere"]
