"""What every peer is asked and what every peer answers.

Three observations, chosen for what a robot with two cameras sends:

- ``A``: two 224 x 224 x 3 uint8 images, joint positions (8,) float32 and a task (about 301 KB);
- ``B``: two 480 x 640 x 3 uint8 images and the same (about 1.84 MB);
- ``C``: the joint positions alone.

The answer is one chunk of 50 steps by 8 numbers, float32, known beforehand: no model takes part, so what is
measured is everything around it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Image height and width of each workload in pixels; None = no images.
SIZES: dict[str, tuple[int, int] | None] = {"A": (224, 224), "B": (480, 640), "C": None}
#: The same with larger images, of which the largest observation is what a message may have, nearly.
LARGE: dict[str, tuple[int, int] | None] = {"B": SIZES["B"], "D": (960, 1280), "E": (1360, 1808), "F": (1920, 2560)}
LABELS = {"A": "two 224x224 images + state", "B": "two 480x640 images + state", "C": "state only"}

#: How many observations a client cycles through: enough that none stays in a processor's cache.
RING = 6

#: The answer of every policy here: (50, 8) float32.
CHUNK: NDArray[np.float32] = np.linspace(-1.0, 1.0, 400, dtype=np.float32).reshape(50, 8)
CHUNK.flags.writeable = False  # one for all robots of a batch


def observations(workload: str) -> list[dict[str, Any]]:
    """The ring of distinct observations of a workload, under canonical names; the same on every call."""
    size = (SIZES | LARGE)[workload]
    ring: list[dict[str, Any]] = []
    for index in range(RING):
        observation: dict[str, Any] = {"robot_state.q": np.linspace(0, 1, 8, dtype=np.float32) + np.float32(index)}
        if size is not None:
            # What a large one shows is worth no minute of making it.
            draw = picture if size in SIZES.values() else _repeated
            observation["image.wrist"] = draw(*size, seed=2 * index)
            observation["image.exterior"] = draw(*size, seed=2 * index + 1)
            observation["task"] = "put the red cube into the bowl"
        ring.append(observation)
    return ring


def mebibytes(workload: str) -> float:
    """What the images of a workload have."""
    size = (SIZES | LARGE)[workload]
    return 0.0 if size is None else 2 * 3 * size[0] * size[1] / 2**20


def _repeated(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.resize(picture(224, 224, seed), (height, width, 3))


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A (height, width, 3) image that compresses like a photograph: broad waves of colour and a few hard edges."""
    random = np.random.default_rng(seed)
    y = np.linspace(0, 1, height)[:, None, None]
    x = np.linspace(0, 1, width)[None, :, None]
    image = np.full((height, width, 3), 128.0)
    for cycles, strength in ((1, 60.0), (4, 30.0), (16, 8.0)):
        direction, phase = random.uniform(-cycles, cycles, (2, 3)), random.uniform(0, 2 * np.pi, 3)
        image += strength * np.sin(2 * np.pi * (direction[0] * x + direction[1] * y) + phase)
    for _ in range(5):
        top, left = random.integers(0, height * 3 // 4), random.integers(0, width * 3 // 4)
        image[top : top + height // 5, left : left + width // 6] = random.uniform(0, 255, 3)
    return np.clip(image, 0, 255).astype(np.uint8)
