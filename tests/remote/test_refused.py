"""Stores that cannot be reached: one honest line, in bounded time, and no trace of a library's."""

import logging
import os
import re
import socket
import subprocess
import sys
import time

import pytest
from hub_standin import hub_standin
from object_store import point_at, upload
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.checkpoints.remote import RemoteFolder, fetch
from offboard_core.process import free_port
from offboard_core.server import InferenceServer
from offboard_process import offboard
from puppets import Puppet, source
from robots import get_json, robot

#: Far more than the retries of the libraries take.
BOUND = 300


def forget_stores():
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def nowhere(monkeypatch):
    """Where nobody listens."""
    with socket.socket() as closed:  # bound and not listening, so that nobody else does
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        settings = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
                    "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}  # fmt: skip
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        forget_stores()
        yield url
    forget_stores()


def test_a_store_that_refuses(nowhere):
    with pytest.raises(ConfigurationError) as caught:
        RemoteFolder("s3://bucket/run").files()
    text = caught.value.text
    assert text.startswith("s3://bucket/run cannot be read: ")
    assert nowhere in text, "which one it was"
    assert "\n" not in text
    assert len(text) < 300


def test_a_server_of_what_lies_there_ends_with_one_line(nowhere, tmp_path):
    begin = time.monotonic()
    done = offboard(
        "serve", "--vendor", "openpi", "--checkpoints-dir", "s3://bucket/run", "--port", "0",
        OFFBOARD_CACHE=str(tmp_path),
    )  # fmt: skip
    assert time.monotonic() - begin < BOUND
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert "cannot be read" in done.stderr


def test_a_store_that_goes_away_in_mid_download(s3, tmp_path, monkeypatch, caplog):
    """The server lives on, and says what failed."""
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.BLOCK", 1000)
    monkeypatch.setattr("offboard_core.checkpoints.remote.cache.time.sleep", lambda _: None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "weights").write_bytes(bytes(10_000))
    with pytest.MonkeyPatch.context() as patch:
        point_at(s3, patch)
        upload(tmp_path / "there", "s3://bucket/run")
        listing = RemoteFolder("s3://bucket/run").files()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    forget_stores()
    gone = RemoteFolder("s3://bucket/run")
    monkeypatch.setattr(gone, "files", lambda: listing)

    def load():
        fetch(gone, lambda _: None)
        return Puppet()

    with caplog.at_level(logging.INFO), InferenceServer({"only": source({"a": load})}, port=0) as server:
        with robot(server) as one:
            assert "s3://bucket/run cannot be read: " in one.refused()["error"]
        failed = get_json(server, "/api/v1/status")["last_failure"]["text"]
    assert "\n" not in failed
    traces = [r.exc_info[1] for r in caplog.records if r.exc_info]
    assert all(isinstance(error, (ConfigurationError, LoadFailed)) for error in traces), "these are logged as a line"


PROGRAM = """
from offboard_core.checkpoints.remote import open_folder
from offboard_client.errors import ConfigurationError
try:
    open_folder("hf://org/name@v1")
except ConfigurationError as error:
    print(error.text)
"""


def test_the_hub_without_a_network(tmp_path):
    with hub_standin() as hub:
        hub.push({"README.md": b"#"}, "v1")
        environment = hub.environment(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env={**os.environ, **environment},
        timeout=BOUND, check=True,
    )  # fmt: skip
    [said] = done.stdout.splitlines()
    # Which library connects, and so the error's name, is the Hub library's affair.
    assert re.match(r"hf://org/name@v1 cannot be read: \w+: \[Errno 111\] Connection refused; ", said)
    assert "check the name, the revision and the network" in said
