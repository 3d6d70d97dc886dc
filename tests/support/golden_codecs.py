"""Numbers made by running Positronic's own codecs (early 2026), and the inputs they were made from."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "codecs" / "data" / "golden-codecs.json").read_text())


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return _picture(height, width, seed).copy()


@functools.cache
def _picture(height: int, width: int, seed: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(3 * x + seed) % 256, (5 * y + seed) % 256, (2 * (x + y) + seed) % 256], -1).astype(np.uint8)


def observation() -> dict[str, Any]:
    return {
        "robot_state.ee_pose": np.array([0.4, -0.1, 0.3, 0.5, 0.5, 0.5, 0.5]),
        "robot_state.q": np.array([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7]),
        "grip": 0.25,
        "image.wrist": picture(480, 640, 1),
        "image.exterior": picture(720, 1280, 2),
        "task": "pick up the cube",
    }


def sha16(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
