"""Checkpoints and options for the stand-in of GR00T's checkouts."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_codecs import picture
from puppets import until

STANDIN = Path(__file__).resolve().parents[1] / "gr00t" / "standin"
#: What runs the stand-in's scripts: this Python, which has what they import.
PYTHON = shlex.quote(sys.executable)
GENERATIONS = ("n1.5", "n1.6", "n1.7")
TAG = "new_embodiment"
#: Positronic's layout ee_quat.
VIDEO = ("wrist_image", "exterior_image_1")
STATE = {"grip": 1, "ee_pose": 7}
ACTION = {"ee_pose": 7, "grip": 1}
LANGUAGE = "annotation.language.language_instruction"
#: What ACTION is: steps, or absolute poses, and the grip.
STEPS, POSES = (
    [
        {"rep": rep, "type": "EEF", "format": "DEFAULT", "state_key": None},
        {"rep": "ABSOLUTE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None},
    ]
    for rep in ("DELTA", "ABSOLUTE")
)
#: The data config of the stand-in for N1.5 whose instruction is LANGUAGE.
DATA_CONFIG = "examples.arm:Arm"
#: (w, h) of the cameras, which N1.5 insists on; Positronic's codecs make it.
SIZE = (224, 224)
_TYPES = {
    "n1.5": ("gr00t_n1_5", "GR00T_N1_5"),
    "n1.6": ("Gr00tN1d6", "Gr00tN1d6"),
    "n1.7": ("Gr00tN1d7", "Gr00tN1d7"),
}


def options(generation: str = "n1.6", **more: Any) -> dict[str, Any]:
    own = {"data_config": DATA_CONFIG} if generation == "n1.5" else {}
    return {"gr00t_root": str(STANDIN), "gr00t_command": PYTHON, "startup_timeout": 60.0, **own, **more}


def write_checkpoint(
    folder: Path,
    generation: str = "n1.6",
    *,
    tag: str = TAG,
    video: Sequence[str] = VIDEO,
    state: Mapping[str, int] = STATE,
    action: Mapping[str, int] = ACTION,
    horizon: int = 16,
    frames: Sequence[int] = (0,),
    language: str = LANGUAGE,
    size: tuple[int, int] = SIZE,
    action_configs: Sequence[Mapping[str, Any]] | None = None,
    **says: Any,
) -> Path:
    """One ``checkpoint-N`` as GR00T's training leaves it; ``says`` is what the stand-in does with it.

    N1.5's has one frame of each camera, 16 steps, and its instruction's key is the data config's.
    """
    folder.mkdir(parents=True)
    model_type, architecture = _TYPES[generation]
    _dump(folder / "config.json", {"model_type": model_type, "architectures": [architecture]})
    header = json.dumps({"w": {"dtype": "F32", "shape": [2048], "data_offsets": [0, 8192]}}).encode()
    name = "model-00001-of-00001.safetensors"
    (folder / name).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8192))
    _dump(folder / "model.safetensors.index.json", {"metadata": {"total_size": 8192}, "weight_map": {"w": name}})
    for other in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / other).write_bytes(bytes(64))
    _dump(folder / "trainer_state.json", {"global_step": 1})
    if generation == "n1.5":
        _dump(folder / "experiment_cfg" / "metadata.json", {tag: _metadata(video, state, action, size)})
    else:
        _dump(folder / "experiment_cfg" / "conf.json", {})
        configs = {
            "video": {"delta_indices": list(frames), "modality_keys": list(video)},
            "state": {"delta_indices": [0], "modality_keys": list(state)},
            "action": {"delta_indices": list(range(horizon)), "modality_keys": list(action)},
            "language": {"delta_indices": [0], "modality_keys": [language]},
        }
        empty = {"sin_cos_embedding_keys": None, "mean_std_embedding_keys": None, "action_configs": None}
        configs = {kind: {**config, **empty} for kind, config in configs.items()}
        if action_configs is not None:
            configs["action"]["action_configs"] = list(action_configs)
        kwargs = {"modality_configs": {tag: configs}, "max_state_dim": 128, "max_action_dim": 128}
        said = {"processor_class": f"{architecture}Processor", "processor_kwargs": kwargs}
        _dump(folder / "processor_config.json", said)
        groups = {"state": state, "action": action}
        statistics = {kind: {name: _columns(width) for name, width in found.items()} for kind, found in groups.items()}
        _dump(folder / "statistics.json", {tag: statistics})
        _dump(folder / "embodiment_id.json", {tag: 10})
    if says:
        _dump(folder / "standin.json", says)
    return folder


def write_run(run: Path, steps: Mapping[int, float], generation: str = "n1.6", **more: Any) -> Path:
    """A training's folder: step → the value that its actions have."""
    for step, value in steps.items():
        write_checkpoint(run / f"checkpoint-{step}", generation, value=value, **more)
    return run


def _metadata(
    video: Sequence[str], state: Mapping[str, int], action: Mapping[str, int], size: tuple[int, int]
) -> dict[str, Any]:
    groups = {"state": state, "action": action}
    about = {"absolute": True, "rotation_type": None, "continuous": True}
    return {
        "embodiment_tag": TAG,
        "statistics": {
            kind: {name: _columns(width) for name, width in found.items()} for kind, found in groups.items()
        },
        "modalities": {
            "video": {name: {"resolution": list(size), "channels": 3, "fps": 15.0} for name in video},
            **{kind: {name: {**about, "shape": [n]} for name, n in found.items()} for kind, found in groups.items()},
        },
    }


def _columns(width: int) -> dict[str, list[float]]:
    return {"mean": [0.0] * width, "std": [1.0] * width, "min": [-1.0] * width, "max": [1.0] * width,
            "q01": [-1.0] * width, "q99": [1.0] * width}  # fmt: skip


def _dump(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


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


def observation(generation: str, task: str = "go", *, x: float = 0.4, **more: Any) -> dict[str, Any]:
    """What the model of :func:`write_checkpoint` reads, as the server of its generation takes it."""
    batch = () if generation == "n1.5" else (1,)
    kind = np.float32 if batch else np.float64
    video = {name: np.zeros((*batch, 1, SIZE[1], SIZE[0], 3), np.uint8) for name in VIDEO}
    state = {name: np.full((*batch, 1, width), x, kind) for name, width in STATE.items()}
    if batch:
        return {"video": video, "state": state, "language": {LANGUAGE: [[task]]}, **more}
    flat = {f"video.{name}": value for name, value in video.items()}
    return {**flat, **{f"state.{name}": value for name, value in state.items()}, LANGUAGE: [task], **more}


@contextlib.contextmanager
def gr00t_server(
    checkpoint: Path, port: int, generation: str = "n1.6", *more: str, host: str = "127.0.0.1"
) -> Iterator[subprocess.Popen[bytes]]:
    """A GR00T server that another program runs."""

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    command = [sys.executable]
    if generation == "n1.5":
        command += [str(STANDIN / "scripts" / "inference_service.py"), "--server", "--data-config", DATA_CONFIG]
        tag = TAG
    else:
        command += [str(STANDIN / "gr00t" / "eval" / "run_gr00t_server.py"), "--host", host]
        tag = TAG.upper()
    command += ["--port", str(port), "--model-path", str(checkpoint), "--embodiment-tag", tag, *more]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(listens, "GR00T listens")
            yield process
        finally:
            process.kill()
