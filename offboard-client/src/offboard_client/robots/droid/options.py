"""What DROID's robot takes on a command line; told without DROID's package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DroidOptions:
    """Options of ``offboard run droid``; the rest is in DROID's own ``droid/misc/parameters.py``."""

    exterior: Literal[1, 2] = 1
    """Which of DROID's varied cameras is `image.exterior`."""
