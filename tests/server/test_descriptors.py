"""A server without file descriptors still says so, and says that it lives."""

import contextlib
import json
import socket

import pytest
from puppets import PATIENCE
from robots import get, robot
from scarce import LIMIT, scarce_server
from websockets.exceptions import InvalidStatus


@pytest.fixture(scope="module")
def server():
    with scarce_server() as running:
        yield running
    assert "sessions (--max-sessions) need" in running.log


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
                sessions.append(held.enter_context(robot(server)))
                sessions[-1].opened()
            except InvalidStatus as refused:
                answer = refused.response
        for one in sessions:
            assert "result" in one.ask({})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert json.loads(answer.body)["code"] == "full"
        assert "file descriptors" in json.loads(answer.body)["error"]
        assert len(sessions) > LIMIT / 2, "none of them took more than one"
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
