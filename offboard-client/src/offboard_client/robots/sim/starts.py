"""Where the cubes lie when an episode starts."""

from __future__ import annotations

import numpy as np

from .. import Vector
from .scene import CUBES

#: Where they may lie (m, arm base frame), and how far apart, so that open fingers fit between them.
_AREA = np.array([(0.40, 0.62), (-0.24, 0.24)])
_APART = 0.11
#: Each one's own place, around which its area shrinks.
_OWN: dict[str, Vector] = dict(zip(CUBES, np.array([(0.51, -0.16), (0.51, 0.16), (0.403, 0.0)]), strict=True))
#: So often a place is drawn for one cube, until it is clear that those before it leave no room.
_TRIES = 1000


def places(rng: np.random.Generator, spread: float = 1.0) -> list[Vector]:
    """A random (x, y) for each cube, at least ``_APART`` from each other; ``spread``: see :class:`SimOptions`."""
    while len(found := _drawn(rng, spread)) < len(_OWN):
        pass
    return found


def _drawn(rng: np.random.Generator, spread: float) -> list[Vector]:
    """A place for each cube, or for fewer where those that were drawn first leave none for the next."""
    found: list[Vector] = []
    for own in _OWN.values():
        area: Vector = spread * _AREA + (1 - spread) * own[:, None]
        for _ in range(_TRIES):
            place: Vector = rng.uniform(area[:, 0], area[:, 1])
            if all(float(np.linalg.norm(place - other)) >= _APART for other in found):
                found.append(place)
                break
        else:
            break
    return found
