"""offboard over TLS, with a certificate that the server has made for the occasion (``openssl``)."""

from __future__ import annotations

import ssl
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from offboard_client import InferenceClient
from offboard_core.catalog import from_callables
from offboard_core.server import ServerConfig, run_server

from peers import offboard

_MAKE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
    "-keyout key.pem -out cert.pem"
)


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """The same as its neighbour, behind TLS."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(_MAKE.split(), cwd=folder, check=True, capture_output=True, timeout=60)
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        config = ServerConfig(port=0, ssl_certfile=cert, ssl_keyfile=key)
        source = from_callables({policy: offboard.POLICIES[policy]})
        run_server({"default": source}, config, lambda host, port: listening(port))


class Client(offboard.Client):
    """The same through TLS; whose certificate it is does not matter here."""

    def __init__(self, port: int) -> None:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        self._client = InferenceClient(f"wss://127.0.0.1:{port}", ssl=trusting, shared_memory=self.shared_memory)
        self._session = self._client.new_session()
