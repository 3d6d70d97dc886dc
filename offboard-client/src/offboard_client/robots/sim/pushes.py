"""Pushes: the arm goes somewhat elsewhere than it is commanded, so that whoever plays it shows how that is put right.

Noise in what is played, and none in what is asked for: DART (Laskey et al. 2017).
"""

from __future__ import annotations

import math

import numpy as np

from .. import Vector

#: So often a second somebody pushes, on average; a push dies away in so many seconds (to a third); and takes a joint
#: along at so many rad/s.
_RATE, _FADING, _SPEED = 1.0, 0.3, 0.18


class Pushes:
    """How far each of ``joints`` joints is off what it is commanded, rad: ``size`` is the spread of a push."""

    def __init__(self, joints: int, size: float, seed: int) -> None:
        self._size = size
        self._rng = np.random.default_rng((seed, joints))
        self._toward: Vector = np.zeros(joints)
        self.offset: Vector = np.zeros(joints)

    def next(self, seconds: float) -> Vector:
        """The offsets (n,) after so many seconds more."""
        if self._size and self._rng.random() < 1 - math.exp(-_RATE * seconds):
            self._toward = self._rng.normal(scale=self._size, size=len(self.offset))
        self.offset = self.offset + np.clip(self._toward - self.offset, -_SPEED * seconds, _SPEED * seconds)
        self._toward = self._toward * math.exp(-seconds / _FADING)
        return self.offset
