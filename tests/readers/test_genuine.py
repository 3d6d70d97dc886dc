"""Data sets that Positronic's and LeRobot's own packages wrote, and what these read of them themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import lerobot_rows
import numpy as np
import pytest
from offboard_core.plugins import CODEC, Plugins
from offboard_core.readers import open_source
from offboard_core.types import Checkpoint

HERE = Path(__file__).parent
#: What its data sets and codecs need of Positronic's 85 packages.
POSITRONIC = [
    "numpy", "scipy", "pyarrow", "av", "pillow", "pos3", "pyyaml", "configuronic", "coloredlogs", "pydantic", "mujoco",
    "attrs", "opentelemetry-api", "opencv-python-headless", "positronic-wire==0.12.0", "positronic-model-server==0.3.1",
]  # fmt: skip
#: And what LeRobot 0.3.3's data sets need of its own.
LEROBOT = [
    "torch==2.10.0", "torchvision==0.25.0", "datasets==3.6.0", "numpy<2.3", "huggingface-hub==0.35.3", "av",
    "jsonlines", "draccus==0.10.0", "einops", "deepdiff", "imageio", "pyserial",
]  # fmt: skip


def environment(place: Path, bare: list[str], more: list[str]) -> str:
    """Its Python."""
    uv = shutil.which("uv")
    assert uv is not None, "this makes an environment with uv: pip install uv"
    python = str(place / "env" / "bin" / "python")
    for command in (
        [uv, "venv", "-q", "-p", "3.11", str(place / "env")],
        [uv, "pip", "install", "-q", "--python", python, "--no-deps", *bare],
        [uv, "pip", "install", "-q", "--python", python, *more],
    ):
        subprocess.run(command, check=True, timeout=600, cwd=place)
    return python


def rows(python: str, program: str, *arguments: str, home: Path) -> None:
    said = subprocess.run(
        [python, program, *arguments], capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr


@pytest.mark.slow
def test_positronics_own_conversion_makes_the_same_rows(tmp_path: Path) -> None:
    """Version 0.4.1, in an environment of its own: to the bit."""
    python = environment(tmp_path, ["positronic==0.4.1", "positronic-eval-vocabulary==0.6.0"], POSITRONIC)
    names = ("lerobot_0_3_3.ee", "lerobot_0_3_3.joints", "openpi.ee", "openpi.ee_joints")
    for fps in ("15", "20"):
        folder, out = tmp_path / f"set {fps}", tmp_path / f"{fps}.npz"
        rows(python, str(HERE / "positronic_rows.py"), str(folder), str(out), fps, *names, home=tmp_path)
        theirs = np.load(out)
        source = open_source(str(folder), {}, lambda _: None)
        assert source is not None
        episodes = source.episodes()
        assert [episode.origin["outcome"] for episode in episodes] == ["success", "stall"]
        for name in names:
            found = Plugins.discover().get(CODEC, name.replace("_0_3_3", ""))
            codec = found.make(found.options()(), Checkpoint(id="it"))
            for number, episode in enumerate(episodes):
                assert episode.seconds == pytest.approx(2, abs=0.2)
                frames = [*episode.frames(float(fps), codec.trained_on)]
                assert {frame.task for frame in frames} == {f"stack {number}"}
                made = [codec.label({**frame.values, "task": frame.task}) for frame in frames]
                for column in codec.features:
                    ours = np.stack([each[column] for each in made])
                    assert len(ours) > 25
                    assert np.array_equal(ours, theirs[f"{name}:{number}:{column}"]), (name, column)


@pytest.mark.slow
def test_lerobots_older_form_is_read_as_lerobot_reads_it(tmp_path: Path) -> None:
    """Version 0.3.3, the last that writes v2.1, in an environment of its own."""
    python = environment(tmp_path, ["lerobot==0.3.3"], LEROBOT)
    rows(python, lerobot_rows.__file__, str(tmp_path / "set"), str(tmp_path / "rows.npz"), home=tmp_path)
    lerobot_rows.check(str(tmp_path / "set"), np.load(tmp_path / "rows.npz"))
