"""What a vendor's own training implements; ``offboard stats`` and ``offboard train`` call it."""

from __future__ import annotations

from .data import MADE, made_with
from .numbers import check_finite, check_numbers
from .trainer import Trainer

__all__ = [
    "MADE",
    "Trainer",
    "check_finite",
    "check_numbers",
    "made_with",
]
