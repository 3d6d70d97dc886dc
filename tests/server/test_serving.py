"""``InferenceServer.serve()``: what it tells whoever started it, and what a Ctrl-C leaves of it."""

import re
import signal
import subprocess
import sys

import pytest
from offboard_core.server import InferenceServer
from puppets import PATIENCE
from robots import Robot, connect_to, robot

PROGRAM = """
import logging, sys
from offboard_core import InferenceServer

if LOGS:
    logging.basicConfig(level="INFO", format="mine: %(message)s")
InferenceServer({"a": lambda: lambda observation: None}, host=HOST, port=0).serve()
"""


@pytest.mark.parametrize(("host", "logs"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_program_that_serves_says_once_how_to_connect_and_leaves_stdout_alone(host, logs):
    program = PROGRAM.replace("HOST", repr(host)).replace("LOGS", repr(logs))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = process.stderr.readline()
            found = re.search(r"listening on (\S+); try offboard probe (\S+)$", said)
            assert found, said
            assert found[1] == found[2]
            with connect_to(f"ws://{found[1]}/api/v1/session") as connection:
                Robot(connection).opened()
            process.send_signal(signal.SIGTERM)
            out, rest = process.communicate(timeout=PATIENCE)
            assert out == ""
            assert "listening on" not in rest
            assert said.startswith("mine: ") is logs
        finally:
            process.kill()


def test_ctrl_c_before_it_runs_leaves_it_as_it_was(monkeypatch):
    server = InferenceServer({"a": lambda: lambda observation: None}, port=0)

    def interrupted(*sessions):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("offboard_core.server.inference_server.provide", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.serve()
    with server, robot(server) as one:
        one.opened()
