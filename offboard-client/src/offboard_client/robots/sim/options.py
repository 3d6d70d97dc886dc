"""What the simulated arm takes on a command line; told without MuJoCo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

RendererName: TypeAlias = Literal["rays", "gl"]


@dataclass(frozen=True, kw_only=True)
class SimOptions:
    """Options of ``offboard run sim``."""

    renderer: RendererName = "rays"
    """How camera pictures are made: by casting rays (needs no OpenGL), or by MuJoCo's OpenGL renderer."""
