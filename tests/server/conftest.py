"""Fixtures of the tests of the server."""

import subprocess

import msgpack
import numpy as np
import pytest
from offboard_core import Chunk, Field
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Door, Puppet, source
from robots import robot


@pytest.fixture
def door():
    with Door() as made:
        yield made


@pytest.fixture(scope="module")
def world():
    seen = []

    def look(episode, inputs):
        seen.append(inputs)
        return Chunk(np.zeros((1, 2)))

    declared = {"tactile": Field(shape=(-1, -1, 3), dtype="uint8", required=False)}
    with InferenceServer({"only": source({"a": lambda: Puppet(look)}, inputs=declared)}, port=0) as server:
        with robot(server) as one:
            one.opened()

        def ask(frame, query=""):
            """(what the policy saw, or None; the reply). The session has to live on."""
            seen.clear()
            with robot(server, query=query) as one:
                one.opened()
                reply = one.ask(frame if isinstance(frame, (bytes, str)) else msgpack.packb(frame))
                found = dict(seen[0]) if seen else None
                assert "result" in one.ask({})
            return found, reply

        ask.server = server
        yield ask


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    return cert, key
