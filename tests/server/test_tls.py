import json
import logging
import socket
import ssl
import urllib.request

import pytest
from offboard_client.errors import ConfigurationError
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import robot


@pytest.mark.rule("A-8")
def test_tls(certificate):
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))
    with InferenceServer({"only": source({"a": Puppet})}, port=0, ssl_certfile=cert, ssl_keyfile=key) as server:
        with robot(server, ssl=trusting) as one:
            one.opened()
            assert "result" in one.ask({"x": 1})
        url = f"https://127.0.0.1:{server.port}/api/v1/models"
        with urllib.request.urlopen(url, context=trusting, timeout=PATIENCE) as answer:
            assert json.load(answer) == {"models": ["a"]}
        with pytest.raises(ssl.SSLCertVerificationError), robot(server, ssl=ssl.create_default_context()):
            pass


UPGRADE = (
    b"GET /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_a_client_that_does_not_read_is_cut_off_at_the_end_and_nothing_is_wrong_with_that(certificate, caplog):
    cert, key = certificate
    trusting = ssl.create_default_context(cafile=str(cert))
    server = InferenceServer({"only": source({"a": Puppet})}, port=0, ssl_certfile=cert, ssl_keyfile=key)
    with (
        server,
        trusting.wrap_socket(socket.create_connection((server.host, server.port)), server_hostname="127.0.0.1") as idle,
    ):
        idle.settimeout(PATIENCE)
        idle.sendall(UPGRADE)
        assert idle.recv(12) == b"HTTP/1.1 101"
        server.stop()
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.rule("A-8")
def test_a_certificate_that_is_none_is_said_plainly(certificate, tmp_path):
    cert, key = certificate
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    for files in (
        {"ssl_certfile": tmp_path / "missing.pem", "ssl_keyfile": key},
        {"ssl_certfile": text, "ssl_keyfile": key},
        {"ssl_certfile": cert, "ssl_keyfile": text},
        {"ssl_certfile": cert},
        {"ssl_keyfile": key},
    ):
        with pytest.raises(ConfigurationError, match="TLS"):
            InferenceServer({"only": source({"a": Puppet})}, port=0, **files).start()
