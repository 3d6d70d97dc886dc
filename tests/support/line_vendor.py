"""A vendor as a third party writes one: its model is a server of its own, in a process of its own.

It brings its command line, its wire and its failure texts. That there is a process at all, and what becomes of it, is
core's.
"""

import contextlib
import json
import select
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from offboard_core import (
    Checkpoint,
    CheckpointLoader,
    Chunk,
    InvalidAction,
    LoaderEntry,
    ModelRegistry,
    Policy,
    PolicyFailed,
    RegistryEntry,
    Session,
    hookimpl,
)
from offboard_core.checkpoints import numbered_folders
from offboard_core.process import MACHINE, PROGRAM, Child, ChildServer, Fault, Stale, diagnose

# -- its command line -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LineOptions:
    timeout: float = 60.0
    startup_timeout: float = 60.0
    restarts: int = 3
    port: int = 0


def start(folder, port):
    program = str(Path(__file__).with_name("line_server.py"))
    return Child([sys.executable, program, str(port), folder], name="line's server", grace=0.2)


# -- its wire ---------------------------------------------------------------------------------------------------------


class Line:
    """A JSON text a line, to a server on this machine. Each question has a number, which its answer repeats."""

    def __init__(self, port):
        self._number, self._unasked = 0, b""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def usable(self):
        return not self._unasked and not select.select([self._socket], [], [], 0)[0]

    def ask(self, state, task, timeout):
        """The (T, 2) actions."""
        with self._socket.makefile("rb", 0):  # whoever closes it meanwhile leaves its number ours until this is over
            return self._ask(state, task, timeout)

    def _ask(self, state, task, timeout):
        end, answer = time.monotonic() + timeout, b""
        self._number += 1
        self._socket.settimeout(timeout)
        self._socket.sendall(json.dumps({"number": self._number, "state": state, "task": task}).encode() + b"\n")
        while b"\n" not in answer:
            self._socket.settimeout(max(end - time.monotonic(), 1e-3))
            if not (part := self._socket.recv(65536)):
                raise ConnectionError("it hung up")
            answer += part
        answer, _, self._unasked = answer.partition(b"\n")
        try:
            reply = json.loads(answer)
        except ValueError:
            raise PolicyFailed("line answered no JSON") from None
        if reply["number"] != self._number:
            raise Stale(f"line answered its question {reply['number']} in place of {self._number}")
        if "error" in reply:
            raise PolicyFailed(f"line failed: {reply['error']}")
        try:
            actions = np.array(reply["actions"], float)
        except ValueError:
            raise InvalidAction(f"line answered {reply['actions']!r}, expected rows of numbers") from None
        if not np.isfinite(actions).all():
            raise InvalidAction("line answered numbers that are not finite")
        return actions

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def warmed_up(line):
    return line.ask([0.0], "warm up", 5.0) is not None


# -- its failure texts ------------------------------------------------------------------------------------------------

FAULTS = (
    Fault(r"out of memory", "the GPU is full", "see with nvidia-smi who else uses it"),
    Fault(r"cannot be used for line|another offboard server's", "the port is taken", "leave --port away"),
    *PROGRAM,
    *MACHINE,
)

# -- what every vendor has --------------------------------------------------------------------------------------------


class LineSession(Session):
    def __init__(self, policy):
        self._policy = policy

    def infer(self, inputs, context):
        return self._policy.ask(inputs["state"].tolist(), inputs.get("task", ""))


class LinePolicy(Policy):
    def __init__(self, server, timeout):
        self._server, self._timeout = server, timeout
        self.health, self.elsewhere, self.close = server.health, server.elsewhere, server.close

    def new_session(self, params):
        return LineSession(self)

    def ask(self, state, task):
        return Chunk(self._server.ask(lambda line: line.ask(state, task, self._timeout)))


class LineLoader(CheckpointLoader):
    def __init__(self, options):
        self.options = options

    def load(self, checkpoint, report, place):
        server = ChildServer(
            partial(start, checkpoint.location),
            Line,
            warmed_up,
            partial(diagnose, faults=FAULTS, name="line", command="(nothing)", root="line", script="line_server.py"),
            name="line",
            startup_timeout=self.options.startup_timeout,
            restarts=self.options.restarts,
            port=self.options.port,
        )
        server.open(report)
        return LinePolicy(server, self.options.timeout)


class LineFolders(ModelRegistry):
    def __init__(self, place):
        self.place = Path(place)

    def checkpoints(self):
        return [
            Checkpoint(id=path.name, location=str(path))
            for _, path in numbered_folders(
                self.place, lambda path: None if (path / "says.json").exists() else "empty", expected="says.json"
            )
        ]


@hookimpl
def offboard_checkpoint_loaders():
    yield LoaderEntry(
        name="line", summary="One line.", factory=LineLoader, options=LineOptions, default_codec="native",
        registry="line",
    )  # fmt: skip


@hookimpl
def offboard_model_registries():
    yield RegistryEntry(name="line", summary="Numbered folders.", factory=LineFolders)
