import pytest
from genuine_client import Genuine, shared_python


@pytest.fixture(scope="session")
def client_python(tmp_path_factory):
    """The Python of the real client's environment."""
    return shared_python(tmp_path_factory)


@pytest.fixture
def client(client_python):
    with Genuine(client_python) as process:
        yield process
