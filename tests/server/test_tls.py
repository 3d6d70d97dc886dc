import json
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
