"""A little data set of one arm, as LeRobot's own class writes it: the columns of the codec ``lerobot.ee``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from lerobot_checkpoints import SIDE

#: A pose and a grip, about which all is.
_AT = (0.3, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 0.5)
#: What makes an ACT of random weights that takes moments to train.
LITTLE = (
    "--policy.pretrained_backbone_weights=null", "--policy.chunk_size=8", "--policy.n_action_steps=8",
    "--policy.dim_model=32", "--policy.n_heads=2", "--policy.dim_feedforward=32", "--policy.n_encoder_layers=1",
    "--policy.n_vae_encoder_layers=1", "--policy.latent_dim=4", "--policy.device=cpu", "--batch_size=1",
    "--num_workers=0", "--log_freq=1",
)  # fmt: skip


def write_data_set(folder: Path, *, fps: int = 15, frames: int = 6, codec: str | None = "lerobot.ee") -> Path:
    """One episode of random numbers. ``codec``: that `offboard convert` is to have made it with."""
    from offboard_lerobot_exports.library import create, scalars

    os.environ.setdefault("SVT_LOG", "1")  # the video's encoder tells much
    features = {name: {"dtype": "float32", "shape": (8,), "names": None} for name in ("observation.state", "action")}
    for camera in ("left", "side"):
        names = ["height", "width", "channels"]
        features[f"observation.images.{camera}"] = {"dtype": "video", "shape": (SIDE, SIDE, 3), "names": names}
    data, random = create(folder, f"offboard/{folder.name}", fps, features), np.random.default_rng(0)
    for _ in range(frames):
        numbers = {name: random.normal(_AT, 0.01).astype(np.float32) for name in ("observation.state", "action")}
        pictures = {
            f"observation.images.{camera}": random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            for camera in ("left", "side")
        }
        data.add_frame({**numbers, **pictures, "task": "stack"})
    scalars(data)
    data.save_episode(parallel_encoding=False)
    data.finalize()
    if codec is not None:
        record = {"codec": codec, "fps": fps, "options": {}}
        (folder / "meta" / "offboard.json").write_text(json.dumps(record))
    return folder
