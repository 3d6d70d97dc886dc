"""The page about Gymnasium, and the README's line of it, walked: PushT is driven by the scripted policy of the page."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from offboard_core.process import free_port
from offboard_process import killed_if_it_hangs, offboard
from waits import until

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "gymnasium.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")


def block(begin: str) -> str:
    (found,) = re.findall(rf"^```\w+\n({begin}.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_the_page_drives_pusht(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    (tmp_path / "pusht.toml").write_text(block("# pusht.toml"), "utf-8")
    (tmp_path / "server.py").write_text(block("# server.py").replace("8000", str(port)), "utf-8")
    server = subprocess.Popen([sys.executable, "server.py"], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: listens(port) or server.poll() is not None, "the server listens")
        assert server.poll() is None, server.communicate()[1]
        found = {}
        lines = block("offboard robots gymnasium:gym").splitlines()
        (readme,) = re.findall(r"^uv run .* (offboard run gymnasium:.*)$", README, re.MULTILINE)
        assert readme in lines[-1]
        for line in [*lines[:-1], readme]:
            words = shlex.split(line.replace("8000", str(port)))[1:]
            done = offboard(*words, "--json", SDL_VIDEODRIVER="dummy")
            assert done.returncode == 0, done.stderr
            found[words[0]] = json.loads(done.stdout)
    finally:
        server.terminate()
        with killed_if_it_hangs(server):
            server.communicate()
    assert found["robots"]["measures"]["image.exterior"]["shape"] == [680, 680, 3]
    assert found["robots"]["plays"]["target_agent"]["high"] == [512, 512]
    assert found["check"]["fits"]
    assert {doubt["name"] for doubt in found["check"]["doubts"]} == {"agent", "block", "target_agent"}
    assert all(doubt["why"].endswith("the policy nothing") for doubt in found["check"]["doubts"])
    report = found["run"]
    assert (report["episodes"], report["failures"], report["steps"]) == (5, {}, 750)
    assert report["successes"] == 0
    # It covers a part of its place in most of them: what is played is what moves the T.
    assert sum(episode["scores"]["max_reward"] > 0.25 for episode in report["episode_log"]) >= 3
    assert report["scores"]["sum_reward"] > 5
