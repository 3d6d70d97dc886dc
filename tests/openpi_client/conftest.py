import fcntl
import os

import pytest
from genuine_client import Genuine, make_environment


@pytest.fixture(scope="session")
def client_python(tmp_path_factory):
    """The Python of the real client's environment, which one process makes for all of them."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # pytest-xdist's own layout
    with (folder / "openpi-client.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "openpi-client" / "bin" / "done"
        if not done.exists():
            make_environment(folder / "openpi-client")
            done.touch()
    return done.with_name("python")


@pytest.fixture
def client(client_python):
    with Genuine(client_python) as process:
        yield process
