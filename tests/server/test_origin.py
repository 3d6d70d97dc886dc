"""A web page that an operator happens to have open must not drive the robot."""

import http.client
import json
import socket

import pytest
from offboard_client import Forbidden, InferenceClient
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import connect_to
from websockets.exceptions import InvalidStatus

HEALTH = ("/livez", "/readyz", "/healthz")
OTHERS = ("/api/v1/models", "/api/v1/status", "/api/v1/sessions/12345678/last", "/metrics", "/", "/docs", "/nothing")
FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.localhost.example",
]


@pytest.fixture(scope="module")
def server():
    with InferenceServer(
        {"only": source({"a": Puppet})}, port=0, allowed_hosts=["Robots.Example", "10.0.0.7:1", "::1"]
    ) as running:
        yield running


@pytest.fixture(scope="module")
def guarded():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token="t0ken") as running:
        yield running


def open_with(server, host: str = "", **headers: str) -> tuple[int, dict[str, str]]:
    """The HTTP status of an upgrade under this name and with these headers, and the error."""
    reached = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    url = f"ws://{host or f'127.0.0.1:{server.port}'}/api/v1/session"
    try:
        with connect_to(url, additional_headers=headers, sock=reached) as connection:
            assert not host or connection.request.headers["Host"] == host.lower()
            return 101, {}
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body)


def ask(server, path: str, *headers: tuple[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.rule("A-9")
@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost", ""])
def test_a_foreign_page_is_refused(server, origin):
    status, error = open_with(server, Origin=origin)
    assert status == 403
    assert error["code"] == "forbidden"
    assert "--allowed-host" in error["error"]
    host = ("Host", f"127.0.0.1:{server.port}")
    assert ask(server, "/api/v1/status", host, ("Origin", origin))[0] == 403
    assert ask(server, "/api/v1/status", host, ("Origin", "http://" + host[1]), ("Origin", origin))[0] == 403
    assert ask(server, "/livez", host, ("Origin", origin))[0] == 200


@pytest.mark.rule("A-10")
@pytest.mark.parametrize("name", FOREIGN)
def test_a_page_whose_name_points_here_is_refused(server, name):
    """DNS rebinding: to the browser it is one site, so Origin and Host agree."""
    status, error = open_with(server, name, Origin=f"http://{name}")
    assert (status, error["code"]) == (403, "forbidden")
    for path in OTHERS:
        status, body = ask(server, path, ("Host", name))
        assert status == 403, path
        assert f"--allowed-host {name.partition(':')[0]}" in json.loads(body)["error"]
    for path in HEALTH:
        assert ask(server, path, ("Host", name))[0] == 200


@pytest.mark.rule("A-10")
def test_a_robot_may_use_any_name(server):
    assert open_with(server, "robots.under-the-desk.example")[0] == 101


@pytest.mark.rule("A-9", "A-10")
@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1", "127.0.0.1:{port}", "192.168.7.7:8000", "[::1]", "[::1]:8000", "[fe80::1]:8000", "localhost",
        "LOCALHOST:{port}", "localhost.", socket.gethostname(), f"{socket.gethostname()}:8000",
        f"{socket.gethostname().partition('.')[0]}.local:8000", socket.getfqdn(), "robots.example:9", "robots.example.",
    ],
)  # fmt: skip
def test_addresses_and_own_names_are_answered(server, name):
    name = name.format(port=server.port)
    assert ask(server, "/api/v1/models", ("Host", name))[0] == 200
    assert open_with(server, name, Origin=f"http://{name}")[0] == 101


@pytest.mark.rule("A-9", "A-10")
def test_a_page_of_an_allowed_host_and_whoever_has_the_token_are_let_in(server, guarded):
    assert open_with(server, Origin="https://robots.example")[0] == 101
    assert open_with(server, Origin="https://robots.example:444")[0] == 101
    bearer = "Bearer t0ken"
    assert open_with(guarded, "any.example", Origin="https://dashboard.example", Authorization=bearer)[0] == 101
    assert ask(guarded, "/api/v1/models", ("Host", "any.example"), ("Authorization", bearer))[0] == 200


@pytest.mark.rule("A-10")
def test_two_hosts_are_none(server):
    assert ask(server, "/api/v1/models", ("Host", "evil.example"), ("Host", "localhost"))[0] in (400, 403)
    assert ask(server, "/api/v1/models", ("Host", "localhost"), ("Host", "evil.example"))[0] in (400, 403)


def test_who_is_asked_without_a_host_answers(server):
    """As some health checks and old scripts do, and no browser."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /api/v1/models HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 200")


def test_the_client_raises_what_the_server_said(server):
    client = InferenceClient("127.0.0.1", server.port, headers={"Host": "evil.example"})
    with pytest.raises(Forbidden, match=r"--allowed-host evil\.example"):
        client.list_models()
    with pytest.raises(Forbidden, match="has no token"):
        InferenceClient("127.0.0.1", server.port, headers={"Origin": "http://evil.example"}).new_session()
