"""The README's command for openpi, as it stands there, serves a robot."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from offboard_client import InferenceClient
from openpi_standin import PYTHON, STANDIN, robot, write_run

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
#: Seconds after which something has failed.
PATIENCE = 240


def test_the_readmes_command_serves_a_robot(tmp_path, monkeypatch):
    [line] = re.findall(r"^(offboard serve --vendor openpi .*)$", README, re.MULTILINE)
    place = re.search(r"--checkpoints-dir (\S+)", line)[1]
    write_run(tmp_path / "work" / place, {20000: 0.75})
    # openpi's checkout lies beside the working directory, where it is looked for.
    (tmp_path / "openpi").symlink_to(STANDIN)
    monkeypatch.delenv("OPENPI_ROOT", raising=False)
    command = [sys.executable, "-m", "offboard_client.cli", *shlex.split(line)[1:]]
    command += ["--openpi-command", PYTHON, "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path / "work", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            told = json.loads(server.stdout.readline())
            assert told["models"] == ["20000"]
            with InferenceClient("127.0.0.1", told["port"]) as client, client.new_session() as session:
                rows = session.infer(robot())
                assert rows[0]["action"]["target_pose"][1] == pytest.approx(0.75)
                assert session.metadata["codec"] == "openpi.ee"
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=PATIENCE)
            assert server.returncode == 0
        finally:
            server.kill()
