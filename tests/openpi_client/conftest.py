import pytest
from genuine_client import Genuine, make_environment


@pytest.fixture(scope="session")
def client_python(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("openpi-client") / "venv")


@pytest.fixture
def client(client_python):
    with Genuine(client_python) as process:
        yield process
