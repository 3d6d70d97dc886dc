"""Options that all data sets of frames at a steady rate have."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigurationError

#: No camera and no arm is faster.
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class SteadyOptions:
    """What a frame holds, and how often there is one."""

    fps: int | None = None
    """Frames a second; without it as often as the first attempt was recorded. What was known last then is in it."""
    state: tuple[str, ...] = ()
    """Names of the observation that are the state, in this order; without them all numbers but those of `sim.…`."""
    action: tuple[str, ...] = ()
    """Names that are the action, in this order; without them all that was commanded."""
    cameras: tuple[str, ...] = ()
    """The cameras, such as `image.wrist`; without them all."""
    no_cameras: bool = False
    """No camera at all."""
    task: str | None = None
    """The instruction, for all of them; without it what each was given."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps <= _MOST:
            raise ConfigurationError(f"--fps is {self.fps}; expected a whole number from 1 to {_MOST}")
        if self.cameras and self.no_cameras:
            raise ConfigurationError("give either --cameras or --no-cameras, not both")
