"""Every test that asks for ``clients`` runs with the blocking and with the asyncio client."""

import importlib.util
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest
from scripted_server import Both

# These hold the client against our own server. Where the client stands alone, with the lowest versions, there is none.
if importlib.util.find_spec("offboard_core") is None:
    collect_ignore = ["test_chunk_length.py", "test_in_step.py", "test_settings_kept.py", "test_silence.py"]


@pytest.fixture(params=["blocking", "async"])
def clients(request):
    with Both(request.param) as both:
        yield both


@pytest.fixture(scope="session")
def certificate():
    """TLS contexts of a server for ``localhost`` and of a client that trusts it."""
    path = Path(__file__).parent / "data" / "localhost.pem"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return SimpleNamespace(server=server, client=ssl.create_default_context(cafile=path))
