"""What an environment of Gymnasium takes on a command line; told without Gymnasium."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class GymOptions:
    """Options of ``offboard run gymnasium:ID``."""

    spaces: Path | None = None
    """The file (TOML) that names what the environment's spaces hold; without one an error shows what they are."""
