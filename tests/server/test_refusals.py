"""What the server says to whom it does not serve, on the wire and in its log."""

import contextlib
import http.client
import json
import logging

import pytest
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import connect_to, get, robot
from websockets.exceptions import InvalidStatus


@pytest.fixture(scope="module")
def server():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, max_sessions=2) as running:
        yield running


@pytest.mark.rule("H-13")
@pytest.mark.parametrize("path", ["/nothing", "/api/v1", "/api/v1/sessions", "/api/v1/models/", "//metrics", "/%00"])
def test_an_unknown_path_is_answered_in_the_form_of_every_error(server, path):
    status, body, headers = get(server, path)
    assert status == 404
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["code"] == "not_found"
    assert "/api/v1/models" in json.loads(body)["error"]


@pytest.mark.rule("H-13")
def test_another_method_and_a_session_without_an_upgrade_are_too(server):
    for method, path, expected in (
        ("POST", "/api/v1/models", 405),
        ("POST", "/api/v1/keepalive", 404),
        ("GET", "/api/v1/session", 426),
        ("GET", "/api/v1/session/a/b", 426),
    ):
        connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.status == expected
        assert json.loads(answer.read())["code"] == "not_found"
        connection.close()


@pytest.mark.rule("H-13")
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_front_page_says_where_to_go(server, path):
    status, body, _ = get(server, path)
    assert status == 200
    for way in ("/api/v1/models", "/api/v1/status", "/metrics", "/readyz", "/api/v1/session", "InferenceClient"):
        assert way in body


@pytest.mark.rule("C-9")
def test_a_session_under_an_unknown_path_is_told_which_there_are(server):
    with pytest.raises(InvalidStatus) as refused:
        connect_to(f"ws://{server.host}:{server.port}/api/v2/session")
    assert refused.value.response.status_code == 403
    error = json.loads(refused.value.response.body)
    assert error["code"] == "not_found"
    assert "/api/v1/session" in error["error"]


def refusals():
    """How a session may be refused: (keywords of a server, path, headers, what the one line says)."""
    return {
        "token": ({"auth_token": "t"}, "/api/v1/session", {}, "token"),
        "full": ({"max_sessions": 1}, "/api/v1/session", {}, "--max-sessions"),
        "origin": ({}, "/api/v1/session", {"Origin": "http://evil.example"}, "evil.example"),
        "path": ({}, "/nothing", {}, "/nothing"),
        "model": ({}, "/api/v1/session/none", {}, "none"),
        "query": ({}, "/api/v1/session?dialect=klingon", {}, "klingon"),
    }


@pytest.mark.parametrize("kind", refusals())
def test_a_refused_session_is_one_line_of_ours(caplog, kind):
    settings, path, headers, says = refusals()[kind]
    with (
        InferenceServer({"only": source({"a": Puppet})}, port=0, preload=False, **settings) as server,
        robot(server) if kind == "full" else contextlib.nullcontext(),
        caplog.at_level(logging.WARNING),
    ):
        try:
            with connect_to(f"ws://{server.host}:{server.port}{path}", additional_headers=headers) as one:
                one.recv(timeout=PATIENCE)
        except InvalidStatus:
            pass
    (record,) = caplog.records
    assert record.name.startswith("offboard_core")
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("refused a session of 127.0.0.1:")
    assert says in record.getMessage()


def test_a_session_that_is_served_is_no_line(caplog, server):
    with caplog.at_level(logging.WARNING), robot(server) as one:
        one.opened()
        one.ask({})
    assert not caplog.records
