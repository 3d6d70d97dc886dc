"""A server in a process of its own that may have few file descriptors."""

import contextlib
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from offboard_core.frontends import RESERVE
from puppets import PATIENCE

#: What the system allows it.
LIMIT = 220
_SERVER = """
import logging, resource, sys
_, limit, loop, *files = sys.argv
if loop == "asyncio":
    sys.modules["uvloop"] = None
resource.setrlimit(resource.RLIMIT_NOFILE, (100, int(limit)))
from offboard_core import InferenceServer
from offboard_core.frontends import provide
logging.basicConfig(level="WARNING")
provide(1000)
tls = dict(zip(("ssl_certfile", "ssl_keyfile"), files))
models = {"a": lambda: lambda observation: [[0.0]]}
bounds = dict(request_timeout=600.0, ping_timeout=600.0)  # nobody answers a ping in between
server = InferenceServer(models, port=0, max_sessions=1000, **bounds, **tls)
with server:
    print(server.port, *resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def scarce_server(*certificate: Path, loop: str = "uvloop") -> Iterator[SimpleNamespace]:
    """It serves over TLS with a ``certificate`` and its key; its ``log`` is there when it has ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(LIMIT), loop, *certificate],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    watchdog = threading.Timer(4 * PATIENCE, process.kill)
    watchdog.start()
    server = SimpleNamespace(host="127.0.0.1")
    try:
        line = process.stdout.readline().split()
        assert line, process.stderr.read()
        server.port, server.limits = int(line[0]), line[1:]
        yield server
    finally:
        _, server.log = process.communicate()
        watchdog.cancel()
        watchdog.join()


@contextlib.contextmanager
def without_descriptors() -> Iterator[None]:
    """This process may have no file descriptors beyond those that it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as newest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (newest.fileno() + RESERVE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
