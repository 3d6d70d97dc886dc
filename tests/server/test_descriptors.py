"""A server without file descriptors still says so, and says that it lives."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from puppets import PATIENCE
from robots import get, robot
from websockets.exceptions import InvalidStatus

LIMIT = 220
SERVER = f"""
import logging, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, {LIMIT}))
from offboard_core import InferenceServer
from offboard_core.server.descriptors import provide
logging.basicConfig(level="WARNING")
provide(1000)
server = InferenceServer({{"a": lambda: lambda observation: [[0.0]]}}, port=0, max_sessions=1000, request_timeout=600.0)
with server:
    print(server.port, *resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(4 * PATIENCE, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline().split()
        assert line, process.stderr.read()
        yield SimpleNamespace(host="127.0.0.1", port=int(line[0]), limits=line[1:], process=process)
    finally:
        _, log = process.communicate()
        watchdog.cancel()
        watchdog.join()
    assert "sessions (--max-sessions) need" in log


def test_the_limit_is_raised_as_far_as_it_goes(server):
    assert server.limits == [str(LIMIT), str(LIMIT)]


@pytest.mark.rule("H-12")
def test_health_and_refusals_still_answer_when_sessions_took_all(server):
    sessions = []
    with contextlib.ExitStack() as held:
        answer = None
        while answer is None:
            assert len(sessions) < LIMIT, "nobody was refused"
            try:
                sessions.append(held.enter_context(robot(server)).opened())
            except InvalidStatus as refused:
                answer = refused.response
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert json.loads(answer.body)["code"] == "full"
        assert "file descriptors" in json.loads(answer.body)["error"]
        for path in ("/livez", "/readyz", "/api/v1/status", "/metrics", "/api/v1/models"):
            status, _, headers = get(server, path)
            assert status == 200
            assert headers["Connection"] == "close"
        for _ in range(100):  # more than the reserve: the refused hold none of it
            with pytest.raises(InvalidStatus), robot(server):
                pass
    with robot(server) as one:
        one.opened()


@pytest.mark.rule("H-12")
def test_connections_that_ask_nothing_make_room(server):
    with contextlib.ExitStack() as held:
        for number in range(2 * LIMIT):
            held.enter_context(socket.create_connection((server.host, server.port), timeout=PATIENCE))
            if number % 20 == 0:
                assert get(server, "/livez")[0] == 200
        assert get(server, "/readyz")[0] == 200
