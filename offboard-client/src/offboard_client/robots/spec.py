"""A robot's contract as data: what it measures and what it plays, name by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ConfigurationError, InvalidAction
from .names import check_measured, check_played
from .poses import Vector, vector


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What one name of a robot's observation or action holds.

    ``shape``: of one observation, or of one row; -1 for a free axis. ``dtype``: numpy's name of a number or bool, or
    ``"str"``.
    ``unit``: as a person would write it (``"rad"``, ``"m, unit quaternion wxyz"``, ``"RGB"``), None if there is none.
    ``frame``: in which frame, of what (``"the arm's base; between the finger tips"``), None where that means nothing.
    ``order``: what the numbers along the last axis are, a name each (``("shoulder_pan", …)``); empty where the unit
    says it all. ``rate``: how often it is measured anew, Hz; None: whenever it is asked for. ``low`` and ``high``: of
    what is played, from where to where each number along the one axis may be; None, both: the channel does not say.
    What is beyond is refused, never clipped. A name that the limits do not know is played only where they are stated.
    """

    shape: tuple[int, ...]
    dtype: str = "float64"
    unit: str | None = None
    frame: str | None = None
    order: tuple[str, ...] = ()
    rate: float | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not _is_dtype(self.dtype):
            raise ConfigurationError(
                f"a channel's dtype is {self.dtype!r}; it is numpy's name of a number or bool (float64, uint8), or str"
            )
        if self.order and (not self.shape or self.shape[-1] != len(self.order)):
            raise ConfigurationError(
                f"a channel of the shape {self.shape} has an order of {len(self.order)} names ({', '.join(self.order)})"
            )
        if len(set(self.order)) < len(self.order):
            twice = next(each for i, each in enumerate(self.order) if each in self.order[:i])
            raise ConfigurationError(
                f"a channel's order names {twice} twice ({', '.join(self.order)}); expected each once"
            )
        if self.low is None and self.high is None:
            return
        low, high = (np.asarray(() if each is None else each, np.float64) for each in (self.low, self.high))
        if not (self.shape == low.shape == high.shape and np.isfinite([low, high]).all() and (low < high).all()):
            raise ConfigurationError(
                f"a channel of the shape {self.shape} goes from {self.low!r:.80} to {self.high!r:.80}; expected for "
                "each number a finite low below its high"
            )

    @property
    def is_image(self) -> bool:
        """Whether it holds an image: (h, w, 3) uint8."""
        return len(self.shape) == 3 and self.shape[2] == 3 and self.dtype == "uint8"

    @property
    def is_bounded(self) -> bool:
        """Whether it says from where to where its numbers may be."""
        return self.low is not None

    def check(self, values: Vector, what: str) -> None:
        """``values`` are of its shape and within its bounds, where it has some. Raises InvalidAction for ``what``."""
        if self.low is None or self.high is None:
            return
        values = vector(values, self.shape[0], what)
        if (outside := (values < np.array(self.low)) | (values > np.array(self.high))).any():
            worst = int(outside.argmax())
            which = self.order[worst] if self.order else f"number {worst + 1}"
            raise InvalidAction(
                f"{which} of {what} is {values[worst]:.6g}; {self.low[worst]:g} … {self.high[worst]:g} are allowed"
                + (f" ({self.unit})" if self.unit else "")
            )


@dataclass(frozen=True, kw_only=True)
class RobotSpec:
    """What a robot measures and plays, by the protocol's names (sections 7 and 8), and how often it is commanded.

    ``control_period``: seconds from one set-point that its hardware takes to the next. It is known before the robot is
    connected, and stays. ``max_skew``: seconds; what was taken farther apart is no observation, and is not sent as one
    (:attr:`Robot.taken`). None: whatever :meth:`Robot.observe` returns was taken together. ``stale_after``: seconds;
    what is older has frozen, which is a failure of the robot. None: nobody can tell. ``simulated``: whether it
    moves in a computer only; what is real is not driven without a limits file.

    Raises ConfigurationError for one of the protocol's names that is declared as what it is not.
    """

    measures: Mapping[str, Channel]
    plays: Mapping[str, Channel]
    control_period: float
    max_skew: float | None = None
    stale_after: float | None = None
    simulated: bool = False

    def __post_init__(self) -> None:
        check_period(self.control_period)
        check_measured(self.measures)
        check_played(self.plays)
        for name in ("max_skew", "stale_after"):
            value: Any = getattr(self, name)
            # Written so that NaN, which nothing is above, does not switch a check off.
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
                raise ConfigurationError(f"{name} is {value!r:.40}; expected seconds above 0, or None")

    @property
    def cameras(self) -> Mapping[str, Channel]:
        """The channels of :attr:`measures` that hold images."""
        return {name: channel for name, channel in self.measures.items() if channel.is_image}

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "measures": {name: asdict(channel) for name, channel in self.measures.items()},
            "plays": {name: asdict(channel) for name, channel in self.plays.items()},
            "control_period": self.control_period,
            "max_skew": self.max_skew,
            "stale_after": self.stale_after,
            "simulated": self.simulated,
        }


def check_period(value: Any) -> float:
    """``value`` if it can be a robot's control period. Raises ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigurationError(
            f"control_period is {value!r}; it is a property of the robot: seconds from one set-point that its hardware "
            "takes to the next, above 0 and at most 1"
        )
    return float(value)


def _is_dtype(name: Any) -> bool:
    try:
        return isinstance(name, str) and (name == "str" or np.dtype(name).kind in "biuf")
    except (TypeError, ValueError):
        return False
