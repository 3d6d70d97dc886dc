"""A vendor's own training, behind ``offboard stats`` and ``offboard train``."""

from __future__ import annotations

from .trainer import Trainer

__all__ = [
    "Trainer",
]
