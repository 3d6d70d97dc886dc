"""A real S3 server on this machine, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Seconds for the server to listen; decides nothing.
PATIENCE = 240


@contextlib.contextmanager
def object_server() -> Iterator[str]:
    """Its address."""
    from offboard_core.process import free_port  # the client's own tests run where there is no core

    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, "the S3 server ended"
            assert time.monotonic() < end, "the S3 server does not listen"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def point_at(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of this process leads to it."""
    import s3fs  # a second, which who collects tests need not spend

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": os.environ.get("NO_PROXY", "") + ",127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # an instance keeps the address of the server it was made for


def emptied(server: str) -> None:
    """As if it had just been started."""
    urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST"), timeout=PATIENCE).close()


def upload(folder: Path, url: str) -> None:
    """Every file of a folder, below ``url``; the bucket is made if it is not there."""
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True)
    with contextlib.suppress(FileExistsError):
        files.mkdir(url.removeprefix("s3://").partition("/")[0])
    for path in folder.rglob("*"):
        if path.is_file():
            files.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())
