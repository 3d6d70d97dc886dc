"""What the simulated arm takes on a command line; told without MuJoCo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ...errors import ConfigurationError

RendererName: TypeAlias = Literal["rays", "gl"]
ClockName: TypeAlias = Literal["lockstep", "real"]


@dataclass(frozen=True, kw_only=True)
class SimOptions:
    """Options of ``offboard run sim``."""

    renderer: RendererName = "rays"
    """How camera pictures are made: by casting rays (needs no OpenGL), or by MuJoCo's OpenGL renderer."""
    clock: ClockName = "lockstep"
    """Whether the simulation waits for the policy, or goes on at wall speed, so that thinking costs time."""
    camera_rate: float = 10.0
    """With `--clock real`: how often the cameras take a picture each, Hz; less often where rendering takes longer."""

    def __post_init__(self) -> None:
        rate: Any = self.camera_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1000:
            raise ConfigurationError(f"the camera rate is {rate!r:.40}; expected Hz, above 0 and at most 1000")
