"""A process that a policy forks holds nothing by which another process is to notice the end of the server."""

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from forked import forked
from offboard_core.process import Child, take_port
from offboard_core.server import InferenceServer
from puppets import PATIENCE
from robots import robot
from waits import until

# Newer Pythons warn of a fork beside threads; that policies do it is the point.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_a_restarted_server_finds_its_port_free():
    with ExitStack() as left:

        def forks(observation):
            left.enter_context(forked())
            return np.zeros((1, 3))

        with InferenceServer(forks, port=0) as server, robot(server) as one:
            one.opened()
            assert "result" in one.ask({})
            port = server.port
        with InferenceServer(lambda observation: np.zeros((1, 3)), port=port) as again:
            assert again.port == port


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's /proc")
def test_it_holds_no_connection_of_a_robot():
    """Also none whose answers the model's thread writes: a robot would not hear that its connection has ended."""
    held = []

    def forks(observation):
        with forked() as pid:
            held.append({os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()})
        return np.zeros((1, 3))

    def ours(port):
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {f"socket:[{row[9]}]" for row in rows if (row[1].split(":")[1], row[3]) == (f"{port:04X}", "01")}

    with InferenceServer(forks, port=0) as server, robot(server) as one:
        one.opened()
        assert "result" in one.ask({})
        assert ours(server.port)
        assert not ours(server.port) & held[0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's memory")
def test_nobody_listens_for_memory_when_the_server_has_gone():
    """Who connected would wait for an answer that nobody gives."""
    with ExitStack() as left:
        server = InferenceServer(lambda observation: np.zeros((1, 3)), port=0)
        with server, robot(server, query="dialect=offboard") as one:
            name = b"\0" + one.opened()["memory"]["door"].encode()
            left.enter_context(forked())

        def listens():
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
                return sock.connect_ex(name) == 0

        until(lambda: not listens(), "nobody listens there any more")


def test_a_child_still_notices_that_the_server_has_gone():
    with Child([sys.executable, "-c", "import time; time.sleep(600)"], name="vendor") as child, forked():
        child._control.close()  # as if this process had been killed
        assert child.wait(PATIENCE)


def test_the_port_of_a_child_is_free_again():
    port, guard = take_port(0, "vendor")
    with forked():
        guard.close()
        again, guard = take_port(port, "vendor")
        guard.close()
        assert again == port
