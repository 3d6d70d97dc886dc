"""The time limits of the service: loading, inference, closing, idle sessions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceTimeouts:
    """Bounds in seconds on everything the slot waits for. ``load``: between two reports of a load's progress."""

    infer: float = 60.0
    load: float = 1200.0
    close: float = 4.0
    idle: float = 600.0
    linger: float = 10.0
    status_every: float = 3.0
