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

    image_size: int = 224
    """Height and width of the pictures, pixels; less is quicker to render."""
    spread: float = 1.0
    """Where the cubes may lie at the start, and how turned: from 0, each at its own place, to 1, anywhere in reach."""
    pushes: float = 0.0
    """How far the arm is pushed off its command, about once a second, rad of each joint: to show how it comes back."""

    def __post_init__(self) -> None:
        rate: Any = self.camera_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1000:
            raise ConfigurationError(f"the camera rate is {rate!r:.40}; expected Hz, above 0 and at most 1000")
        size: Any = self.image_size
        if isinstance(size, bool) or not isinstance(size, int) or not 16 <= size <= 1280:
            raise ConfigurationError(f"the image size is {size!r:.40}; expected pixels, 16 to 1280")
        for name, most in (("spread", 1.0), ("pushes", 0.1)):
            value: Any = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise ConfigurationError(f"{name} is {value!r:.40}; expected 0 to {most:g}")
