"""Numbers made by running Positronic's own codecs (early 2026), and the inputs they were made from."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client.wire import convert

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


def assert_decoded(made: Any, case: dict[str, Any]) -> None:
    """Whether a chunk, in the robot's terms, is what upstream made of the same answer."""
    assert len(made) == case["decoded_len"]
    row = {name: column[0] for name, column in made.columns().items()}
    command = case["decoded_row0"]["robot_command"]
    if command["type"] == "cartesian_pos":
        pose = row.pop("target_pose")
        twelve = np.concatenate([pose[:3], convert(pose[3:], "quat", "rotation_matrix")])
        np.testing.assert_allclose(twelve, command["pose"]["values"], atol=1e-5)
    else:
        np.testing.assert_allclose(row.pop("target_joints"), command["positions"]["values"], atol=1e-5)
    np.testing.assert_allclose(row.pop("target_grip"), [case["decoded_row0"]["target_grip"]], atol=1e-5)
    assert not row
    assert made.timestamp is not None
    assert made.timestamp[0] == case["decoded_row0"]["timestamp"]
    assert made.timestamp[-1] == case["decoded_last_timestamp"]


def assert_said(meta: Any, case: dict[str, Any]) -> None:
    """Whether the handshake has upstream's rate, horizon and sizes of images."""
    assert case["meta"] == {
        "action_fps": meta.action_fps,
        "action_horizon_sec": meta.action_horizon_sec,
        "image_sizes": list(meta.image_sizes),
    }
