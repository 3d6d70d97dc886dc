"""The options of Positronic's codecs for one arm, which every vendor has in the same form."""

from __future__ import annotations

from dataclasses import dataclass, field

from .timing import positive, rate


@dataclass(frozen=True, kw_only=True)
class ArmCodecOptions:
    """A vendor's says by a class of its own what may stand in ``map``."""

    fps: float = 15.0
    """Steps per second."""
    horizon_sec: float | None = 1.0
    """Where a chunk is cut, in seconds; null: whole."""
    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's image → the model's camera."""
    binarize_state_grip: bool = False
    """The observed closure enters as 0 or 1, for *_traj checkpoints that Positronic trained so."""

    def __post_init__(self) -> None:
        rate(self.fps)
        if self.horizon_sec is not None:
            positive("horizon_sec", self.horizon_sec)
