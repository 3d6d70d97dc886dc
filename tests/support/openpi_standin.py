"""Checkpoints and options for the stand-in of openpi's checkout."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from golden_codecs import picture
from puppets import until

STANDIN = Path(__file__).resolve().parents[1] / "openpi" / "standin"
#: What runs the stand-in's scripts: this Python, which has what they import.
PYTHON = shlex.quote(sys.executable)
ASSETS = {"pi05_positronic_lowmem": "lerobot", "pi05_droid": "droid", "pi0_droid": "droid", "pi0_aloha": "trossen",
          "pi0_aloha_sim": "lerobot/aloha_sim", "pi05_libero": "physical-intelligence/libero",
          "my_own_config": "mine", "pi05_so101": "mine", "pi05_full_droid_finetune": "droid"}  # fmt: skip


def options(**more: Any) -> dict[str, Any]:
    return {"openpi_root": str(STANDIN), "openpi_command": PYTHON, "startup_timeout": 60.0, **more}


def norm_stats(width: int = 8, actions: int = 8) -> dict[str, Any]:
    def column(n: int) -> dict[str, list[float]]:
        return {"mean": [0.0] * n, "std": [1.0] * n, "q01": [-1.0] * n, "q99": [1.0] * n}

    return {"norm_stats": {"state": column(width), "actions": column(actions)}}


def write_step(step: Path, asset_id: str = "lerobot", *, width: int = 8, pytorch: bool = False, **says: Any) -> Path:
    """One step's folder as openpi's training leaves it; ``says`` is what the stand-in does with it."""
    (step / "assets" / asset_id).mkdir(parents=True)
    (step / "assets" / asset_id / "norm_stats.json").write_text(json.dumps(norm_stats(width)))
    (step / "_CHECKPOINT_METADATA").write_text("{}")
    if pytorch:
        header = json.dumps({"w": {"dtype": "F32", "shape": [2048], "data_offsets": [0, 8192]}}).encode()
        (step / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8192))
    else:
        (step / "params" / "d").mkdir(parents=True)
        (step / "params" / "_METADATA").write_text("{}")
        (step / "params" / "manifest.ocdbt").write_bytes(b"\0" * 64)
        (step / "params" / "d" / "0123abcd").write_bytes(np.arange(4096, dtype=np.uint16).tobytes())
        (step / "train_state").mkdir()
        (step / "train_state" / "_METADATA").write_text("{}")
    if says:
        (step / "standin.json").write_text(json.dumps(says))
    return step


def write_run(run: Path, steps: dict[int, float], config: str = "pi05_positronic_lowmem", **says: Any) -> Path:
    """An experiment: step → the value that its actions have."""
    for step, value in steps.items():
        write_step(run / str(step), ASSETS[config], value=value, **says)
    return run


def robot(task: str = "pick up the cube", **more: Any) -> dict[str, Any]:
    """What one arm with a gripper and two cameras sends."""
    return {
        "robot_state.ee_pose": np.array([0.4, -0.1, 0.3, 0.5, 0.5, 0.5, 0.5]),
        "robot_state.q": np.array([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7]),
        "grip": 0.25,
        "image.wrist": picture(48, 64, 1),
        "image.exterior": picture(72, 128, 2),
        "task": task,
        **more,
    }


@contextlib.contextmanager
def openpi_server(step: Path, port: int, config: str = "pi05_positronic_lowmem") -> Iterator[subprocess.Popen[bytes]]:
    """An openpi server that another program runs."""

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    command = [*PYTHON.split(), str(STANDIN / "scripts" / "serve_policy.py"), "--port", str(port), "policy:checkpoint"]
    command += ["--policy.config", config, "--policy.dir", str(step)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(listens, "openpi listens")
            yield process
        finally:
            process.kill()
