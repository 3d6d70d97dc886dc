"""N1.5's server listens on every interface, whatever it is told: here it does not."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from gr00t_standin import PYTHON, gr00t_server, observation, options, write_checkpoint
from offboard_client.errors import ConfigurationError, PolicyFailed
from offboard_client.plugins import build
from offboard_core.process import free_port
from offboard_gr00t.checkout import server
from offboard_gr00t.connection import Connection
from offboard_gr00t.generation import Generation
from offboard_gr00t.loader import GR00TLoader
from offboard_gr00t.options import GR00TOptions
from offboard_gr00t.registry import GR00TRegistry

#: Another address of this machine, which only who listens on every interface has.
ELSEWHERE = "127.0.0.2"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")


def takes(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host, port), 5):
        return True
    return False


@contextlib.contextmanager
def loaded(step, **more):
    [checkpoint] = GR00TRegistry(str(step)).checkpoints()
    loader = GR00TLoader(build(GR00TOptions, options(**more), "the vendor gr00t", ConfigurationError))
    with contextlib.closing(loader.load(checkpoint, lambda _: None)) as policy:
        yield policy


@pytest.mark.parametrize("generation", ["n1.5", "n1.6", "n1.7"])
def test_no_generation_is_reached_from_another_address(tmp_path, generation):
    port = free_port()
    with loaded(write_checkpoint(tmp_path / "checkpoint-7", generation), generation=generation, gr00t_port=port):
        assert takes("127.0.0.1", port)
        assert not takes(ELSEWHERE, port)


def test_n1_5_left_alone_is_reached_from_there(tmp_path):
    """Else the test above would prove nothing."""
    port = free_port()
    with gr00t_server(write_checkpoint(tmp_path / "checkpoint-7", "n1.5"), port, "n1.5", host="127.0.0.1"):
        assert takes(ELSEWHERE, port)


def test_n1_5_has_a_token_that_nobody_else_on_this_machine_can_read(tmp_path):
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", "n1.5")
    with loaded(step, generation="n1.5", gr00t_port=port) as policy:
        with (
            contextlib.closing(Connection(f"tcp://127.0.0.1:{port}", Generation.N1_5)) as stranger,
            pytest.raises(PolicyFailed, match="refused the token"),
        ):
            stranger.get_action(observation("n1.5"), 60)
        pid = policy.elsewhere().pid
        if pid is not None:  # None where the system does not tell
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            [token] = [word.partition(b"=")[2] for word in environment if word.startswith(b"OFFBOARD_GR00T_TOKEN=")]
            assert len(token) > 20
            assert token not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_token_that_begins_with_a_dash_is_none_of_the_scripts_options(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_urlsafe", lambda length: "-a-token")
    with loaded(write_checkpoint(tmp_path / "checkpoint-7", "n1.5"), generation="n1.5") as policy:
        assert policy.health().state == "ready"


def test_a_script_that_knows_no_token_is_run_without_one(tmp_path):
    """The first of N1.5's; and whatever it imports from beside it is found."""
    (tmp_path / "beside.py").write_text("import zmq\n\ncontext = zmq.Context()\nrep = context.socket(zmq.REP)\n")
    (tmp_path / "inference_service.py").write_text(
        "import sys, zmq\nfrom beside import context, rep\n"
        f"rep.bind('tcp://*:{free_port()}')\nprint(sys.argv, rep.getsockopt_string(zmq.LAST_ENDPOINT))\n"
        "context.destroy()\n"
    )
    command = server(tmp_path.parent, Generation.N1_5, None, sys.executable)[:-1]
    done = subprocess.run(
        [*command, str(tmp_path / "inference_service.py"), "--server"],
        env={**os.environ, "OFFBOARD_GR00T_TOKEN": "s3cret"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "'--server'] tcp://127.0.0.1:" in done.stdout


def test_the_shim_goes_with_the_command_line(tmp_path):
    """A container has no file of ours."""
    command = server(tmp_path, Generation.N1_5, None, f"{PYTHON} -u")
    assert command[1:3] == ["-u", "-c"]
    assert command[-1] == "scripts/inference_service.py"
