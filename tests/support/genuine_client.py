"""The real openpi-client 0.1.2, in a process and an environment of its own."""

import fcntl
import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from offboard_client import wire
from offboard_core import InferenceServer
from offboard_core.frontends import make_frontends
from offboard_core.plugins import Plugins

PROGRAM = Path(__file__).parents[1] / "openpi_client" / "genuine.py"
#: openpi-client asks for less than numpy 2, and imports typing_extensions without asking for it.
REQUIREMENTS = ["openpi-client==0.1.2", "numpy==1.26.4", "typing-extensions"]
#: Seconds after which a process has failed; decides nothing.
LIMIT = 600.0


def make_environment(folder: Path) -> Path:
    """An environment that holds the real client: its Python."""
    uv = shutil.which("uv")
    assert uv is not None, "these tests make an environment for openpi-client with uv: pip install uv"
    python = folder / "bin" / "python"
    for command in (
        [uv, "venv", "-q", "--python", "3.11", folder],
        [uv, "pip", "install", "-q", "--python", python, *REQUIREMENTS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=folder.parent, check=False)
        assert done.returncode == 0, f"openpi-client cannot be had from a package registry: {done.stderr}"
    return python


def shared_python(factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that one process makes for all that run these tests."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # pytest-xdist's own layout
    with (folder / "openpi-client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "openpi-client" / "bin" / "done"
        if not done.exists():
            make_environment(folder / "openpi-client")
            done.touch()
    return done.with_name("python")


class Failed(Exception):
    """What the real client raised, as its type's name and text."""


class Genuine:
    """A process that runs the real client. Every wait ends: it is killed after a while."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen([python, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._watchdog = threading.Timer(LIMIT, self._process.kill)
        self._watchdog.start()

    def connect(self, **arguments):
        """``WebsocketClientPolicy(**arguments)``; the server's metadata."""
        return self._ask(do="connect", arguments=arguments)

    def broker(self, horizon):
        """``ActionChunkBroker`` from now on."""
        self._ask(do="broker", horizon=horizon)

    def infer(self, observation):
        return self._ask(do="infer", observation=observation)

    def reset(self):
        return self._ask(do="reset")

    def play(self, world, steps):
        """An episode of the real Runtime and PolicyAgent, of so many steps at most; ``world`` is the robot."""
        self._write({"do": "play", "steps": steps})
        while "ask" in (reply := self._read()):
            self._write({"answer": getattr(world, reply["ask"])(*reply["arguments"])})
        self._answer(reply)

    def resize(self, image, height, width):
        """``image_tools.resize_with_pad``."""
        return self._ask(do="resize", image=image, size=[height, width])

    def _ask(self, **command):
        self._write(command)
        return self._answer(self._read())

    def _write(self, message):
        frame = wire.encode(message)
        self._process.stdin.write(struct.pack(">I", len(frame)) + frame)
        self._process.stdin.flush()

    def _read(self):
        head = self._process.stdout.read(4)
        assert len(head) == 4, "the client's process ended"
        return wire.decode(self._process.stdout.read(*struct.unpack(">I", head)))

    def _answer(self, reply):
        if "error" in reply:
            raise Failed(reply["error"])
        return reply["answer"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._watchdog.cancel()
        self._watchdog.join()


def speaking(*sources, codec=None, action_horizon=None, short_chunks="refuse", **more):
    """A server that speaks openpi's protocol."""
    plugins = Plugins.discover()
    options = {"codec": codec, "action_horizon": action_horizon, "short_chunks": short_chunks}
    frontends = make_frontends(plugins, {"openpi": options})
    named = {f"m{i}": one for i, one in enumerate(sources)}
    return InferenceServer(named, port=0, frontends=frontends, **more)
