"""What docs/how-to/openpi-clients.md tells an openpi user to write, run with the real client."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from genuine_client import LIMIT, REQUIREMENTS, Failed, speaking
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "openpi-clients.md").read_text("utf-8")


def test_the_program_of_the_page_runs(client_python):
    (program,) = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with speaking(from_flags(Plugins.discover(), vendor="scripted")) as server:
        program = program.replace("localhost", server.host).replace("8000", str(server.port))
        done = subprocess.run(
            [client_python, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=False
        )
    assert done.returncode == 0, done.stderr
    layout, shape = done.stdout.splitlines()
    assert layout == "[['target_pose', 7], ['target_grip', 1]]"
    assert layout.replace("'", '"') in PAGE
    assert re.fullmatch(r"\(\d+, 8\)", shape)


def test_the_page_installs_what_its_program_needs(client_python):
    """The program runs in such an environment; openpi-client alone does not bring what it imports."""
    (line,) = re.findall(r"^pip install (openpi-client .*)$", PAGE, re.MULTILINE)
    pinned = {each.partition("==")[0].replace("-", "_") for each in REQUIREMENTS}
    assert {each.replace("-", "_") for each in line.split()} == pinned - {"numpy"}
    script = "from importlib.metadata import requires; print(*requires('openpi-client'))"
    asked = subprocess.run([client_python, "-c", script], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert "numpy" in asked.stdout
    assert "typing" not in asked.stdout, "it asks for it by now: the page can do without"


def test_the_server_of_the_page_keeps_what_it_promises(client):
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    program = program.replace("port=8000", "port=0").replace(".serve()", "")
    made = {}
    exec(program.replace("InferenceServer({", "server = InferenceServer({"), made)
    pose = np.array([0.4, 0.0, 0.235, 0.0, 1.0, 0.0, 0.0])
    with made["server"] as server:
        metadata = client.connect(host=server.host, port=server.port)
        assert (metadata["chunk_length"], metadata["short_chunks"]) == (8, "hold")
        heights = client.infer({"robot_state.ee_pose": pose})["actions"][:, 2]
    np.testing.assert_allclose(heights, [0.225, 0.215, *[0.205] * 6])


def test_a_server_in_python_speaks_to_it_as_offboard_serve_does(client):
    def hold(observation):
        return {"target_joints": observation["robot_state.q"]}

    with InferenceServer({"hold": lambda: hold}, port=0) as server:
        client.connect(host=server.host, port=server.port)
        assert client.infer({"robot_state.q": np.arange(7.0)})["actions"].tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    refused = pytest.raises(Failed, match="403")
    with InferenceServer({"hold": lambda: hold}, port=0, frontends={}) as server, refused:
        client.connect(host=server.host, port=server.port)
