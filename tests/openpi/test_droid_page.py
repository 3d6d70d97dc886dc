"""The page about DROID, walked: a stock openpi server drives the stand-in of DROID's arm."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import droid_standin
import numpy as np
import pytest
from offboard_core.process import free_port
from offboard_process import in_process
from openpi_standin import openpi_server, write_step
from waits import until

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "droid.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_leads_to_a_driven_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    droid_standin.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (limits,) = [block for block in BLOCKS if block.startswith("# droid.toml")]
    (tmp_path / "droid.toml").write_text(limits, "utf-8")
    lines = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    port = free_port()

    def shown(command: str, *more: str) -> dict[str, Any]:
        (line,) = [line for line in lines if line.startswith(f"offboard {command} droid")]
        words = shlex.split(line.replace("gpu-box:8000", f"127.0.0.1:{port}"))[1:]
        done = in_process(*words, "--json", *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def driven() -> bool:
        """None of it where this machine is too busy to play an answer before its time is over."""
        assert shown("run", "--seconds", "2")["failures"] == {}
        return any(space == "joint_velocity" for space, _ in droid_standin.made[-1].sent)

    with openpi_server(write_step(tmp_path / "step", "droid", value=0.5), port, "pi05_droid"):
        check = shown("check")
        until(driven, "it moves")
    assert (check["mismatches"], check["doubts"]) == ([], [])
    *moves, last = [np.array(sent) for space, sent in droid_standin.made[-1].sent if space == "joint_velocity"]
    np.testing.assert_array_equal(last[:7], 0)
    # On a busy machine it stands in between, while an answer is late.
    moving = np.array([move[1:7] for move in moves if move[:7].any()])
    assert len(moving)
    np.testing.assert_allclose(moving, 0.5)
