"""Ctrl-C and SIGTERM, whatever ``offboard serve`` is doing just then.

A vendor is installed for the server's process that stops where it is told to: the test sees it arrive there as a file.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from offboard_process import started
from plugin_dists import write_plugin
from puppets import PATIENCE
from robots import Robot, connect_to
from waits import until

#: Seconds within which the process must be gone. The promise is 10; a loaded machine gets more.
BOUND = 240

VENDOR = """
    import pathlib, threading
    from dataclasses import dataclass

    import numpy as np
    from offboard_core import Checkpoint, CheckpointLoader, Chunk, LoaderEntry, NoParams, Policy, Session, hookimpl

    @dataclass(frozen=True)
    class Options:
        here: str = ""
        stop_in: str = ""

    class Loader(CheckpointLoader):
        def __init__(self, options):
            self.options = options

        def stop(self, phase):
            if self.options.stop_in == phase:
                (pathlib.Path(self.options.here) / phase).touch()
                threading.Event().wait()

        def load(self, checkpoint, report, place):
            self.stop("load")
            return Stopping(self)

    class Stopping(Policy):
        def __init__(self, loader):
            self.loader = loader

        def new_session(self, params):
            return Episode(self.loader)

        def close(self):
            self.loader.stop("close")

    class Episode(Session):
        def __init__(self, loader):
            self.loader = loader

        def infer(self, inputs, context):
            self.loader.stop("infer")
            return Chunk(np.zeros((1, 2)))

    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name="stopping", summary="Stops.", factory=Loader, options=Options)
"""


class Served:
    """A process of ``offboard serve``, and what it listens on."""

    def __init__(self, process, folder):
        self.process, self.folder = process, folder
        self.address = json.loads(process.stdout.readline())
        assert self.address["pid"] == process.pid

    def connect(self, model="one"):
        return connect_to(f"ws://127.0.0.1:{self.address['port']}/api/v1/session/{model}")

    def reached(self, phase):
        until(lambda: (self.folder / phase).exists() or self.process.poll() is not None, f"the server comes to {phase}")
        assert self.process.poll() is None, "the server has left"

    def is_ready(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.address['port']}/readyz", timeout=PATIENCE).close()
        except OSError:  # an HTTP status is one, too
            return False
        return True

    def leaves(self, number):
        """Send the signal; seconds until nothing was left, and the exit status."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        begin = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(BOUND)
        seconds = time.monotonic() - begin
        _, alive = psutil.wait_procs(family, timeout=BOUND)
        assert alive == []
        return seconds, status


@contextmanager
def serving(tmp_path: Path, stop_in: str = ""):
    folder = write_plugin(tmp_path / "site", "stopping", VENDOR)
    options = f"options = {{ here = {json.dumps(str(tmp_path))}, stop_in = {json.dumps(stop_in)} }}"
    models = tmp_path / "models.toml"
    models.write_text("".join(f'[{name}]\nvendor = "stopping"\n{options}\n' for name in ("one", "two")))
    popen = {"stdout": subprocess.PIPE, "text": True, "env": {**os.environ, "PYTHONPATH": str(folder)}}
    with (
        open(tmp_path / "log", "w") as log,
        started("serve", models, "--port", "0", "--json", stderr=log, **popen) as process,
    ):
        try:
            yield Served(process, tmp_path)
        finally:
            process.kill()
            print((tmp_path / "log").read_text())


#: The same handler as SIGTERM's; what Ctrl-C does to a program that serves is in every run, below.
SIGINT = pytest.param(signal.SIGINT, marks=pytest.mark.slow)


@pytest.mark.rule("C-8")
@pytest.mark.parametrize("number", [SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("phase", ["idle", "open", "load", "queued", "infer", "close"])
def test_a_signal_ends_the_server_in_every_phase(phase, number, tmp_path):
    with serving(tmp_path, phase if phase in ("load", "infer", "close") else "") as served, ExitStack() as stack:
        names = {"idle": [], "queued": ["one", "two"]}.get(phase, ["one", "one"])
        robots = [Robot(stack.enter_context(served.connect(name))) for name in names]
        if phase == "load":
            robots[0].told("loading")
        elif phase == "queued":
            robots[0].opened()
            robots[1].told("waiting")
        else:
            for one in robots:
                one.opened()
        if phase == "infer":
            for one in robots:
                one.send({"x": 1})
        if phase in ("load", "infer"):
            served.reached(phase)
        seconds, status = served.leaves(number)
        print(f"{phase}: {seconds:.1f} s")
        assert status == 0
        for one in robots:
            assert one.closed() == 1012
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log
        assert "never awaited" not in log
        assert "Task was destroyed" not in log
        if phase in ("load", "infer", "close"):
            assert "ends with this process: offboard-model-" in log


PROGRAM = """
import logging, threading
from offboard_core import InferenceServer
from offboard_core.engine import ServiceTimeouts

logging.basicConfig(level="INFO", format="%(message)s")
# How long it waits for the policy by itself, the signals above prove.
waits = {"grace": 0.1, "limits": ServiceTimeouts(close=0.1)}
InferenceServer({"a": lambda: lambda observation: threading.Event().wait()}, port=0, **waits).serve()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_program_that_serves_ends_too_while_its_policy_hangs(number):
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True) as process:
        try:
            while "listening on" not in (line := process.stderr.readline()):
                assert line, "it has left"
            address = line.split()[-1]
            with connect_to(f"ws://{address}/api/v1/session") as connection:
                one = Robot(connection)
                one.opened()
                one.send({"x": 1})
                while not json.loads(
                    urllib.request.urlopen(f"http://{address}/api/v1/status", timeout=PATIENCE).read()
                )["in_flight"]:
                    pass
                process.send_signal(number)
                assert one.closed() == 1012
            assert process.wait(BOUND) == 0
        finally:
            process.kill()


def test_a_second_signal_does_not_wait(tmp_path):
    with serving(tmp_path, "infer") as served, served.connect() as connection:
        one = Robot(connection)
        one.opened()
        one.send({"x": 1})
        served.reached("infer")
        served.process.send_signal(signal.SIGINT)
        while served.is_ready():  # a second signal before the first was seen would be one
            pass
        seconds, status = served.leaves(signal.SIGINT)
        assert status == 0
        print(f"{seconds:.1f} s")
