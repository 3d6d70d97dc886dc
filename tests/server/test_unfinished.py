"""Whoever connects and does not go on is let go: every wait of the server has an end."""

import contextlib
import json
import select
import socket

import numpy as np
import pytest
from offboard_core import Chunk
from offboard_core.engine import ServiceTimeouts
from offboard_core.frontends import Frontend
from offboard_core.frontends.v1 import V1
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import first, get, get_json, robot
from waits import until

X = {"x": np.zeros(3)}
UPGRADE = (
    b"GET /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.fixture(scope="module")
def server():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, request_timeout=0.3) as running:
        yield running


@contextlib.contextmanager
def dialled(server, sent=b""):
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        yield connection


def rest(connection):
    """What comes until the server closes."""
    found = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return bytes(found)


def answered(server, sent, heard=rest):
    """What comes after that; asked again where a busy machine began later than the server waits."""
    found = [b""]

    def ask():
        with contextlib.suppress(ConnectionError), dialled(server, sent) as connection:
            found.append(heard(connection))
        return found[-1]

    until(ask, "what has begun is answered")
    return found[-1]


@pytest.mark.rule("H-10")
def test_who_sends_nothing_is_let_go(server):
    with dialled(server) as connection:
        assert rest(connection) == b""


@pytest.mark.rule("H-10")
@pytest.mark.parametrize(
    "sent",
    [
        b"GET",
        b"GET /livez HTTP/1.1\r\nX-",
        UPGRADE,
        b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nab",
    ],
    ids=["line", "headers", "upgrade", "body"],
)
def test_a_request_that_does_not_end_is_let_go(server, sent):
    answer = answered(server, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"408", b"404")
    assert json.loads(body).keys() == {"error", "code"}
    if b"408" in head:
        assert json.loads(body) == {"error": "no whole request came within 0.3 s", "code": "timeout"}


@pytest.mark.rule("H-10")
def test_a_request_that_comes_drop_by_drop_is_let_go(server):
    def drop_by_drop(connection):
        connection.settimeout(0.01)
        while True:
            with contextlib.suppress(socket.timeout):
                connection.sendall(b"x")
                return connection.recv(4096)

    assert answered(server, b"GET /livez HTTP/1.1\r\nX: ", drop_by_drop).startswith(b"HTTP/1.1 408")


@pytest.mark.rule("H-10")
def test_a_connection_that_is_kept_is_let_go_when_nothing_follows():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, request_timeout=0.5) as server:

        def kept():
            with dialled(server, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") as connection:
                return rest(connection).endswith(b"OK\n")

        until(kept, "the request itself came in time, on a busy machine, too")


def test_a_slow_answer_is_waited_for(door):
    models = source({"a": Puppet})
    listed = models.registry.checkpoints

    def slowly():
        door.passing()
        return listed()

    with InferenceServer({"only": models}, port=0, request_timeout=1.0) as server, contextlib.ExitStack() as held:
        models.registry.checkpoints = slowly
        asked = []

        def ask():
            """Again where a busy machine took longer than it has for the request itself."""
            if not asked or select.select(asked[-1:], [], [], 0)[0]:
                request = b"GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
                asked.append(held.enter_context(dialled(server, request)))
            return door.entered.is_set()

        until(ask, "it is being answered")
        with dialled(server) as quiet:
            assert rest(quiet) == b"", "the time of others is up meanwhile"
        door.open()
        assert b'{"models":["a"]}' in rest(asked[-1])


@pytest.mark.rule("H-10")
def test_a_handshake_of_tls_that_does_not_end_is_let_go(certificate):
    cert, key = certificate
    models = {"only": source({"a": Puppet})}
    with (
        InferenceServer(models, port=0, ssl_certfile=cert, ssl_keyfile=key, request_timeout=0.3) as server,
        dialled(server, b"\x16\x03\x01") as connection,
    ):
        assert rest(connection) == b""


@pytest.mark.rule("H-11")
@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
        b"GET /livez HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"GET /" + b"y" * 100_000,
        UPGRADE + b"X: y\r\n" * 200 + b"\r\n",
        UPGRADE.replace(b"session", b"session/" + b"A" * 20_000) + b"\r\n",
    ],
    ids=["headers", "header", "path", "headers of an upgrade", "path of an upgrade"],
)
def test_a_request_has_a_largest_head(sent):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, dialled(server, sent) as connection:
        answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 431")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "bad_message"
        assert get(server, "/livez")[0] == 200


@pytest.mark.rule("H-11")
def test_requests_do_not_pile_up():
    with (
        InferenceServer({"only": source({"a": Puppet})}, port=0) as server,
        dialled(server, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000) as connection,
    ):
        answers = rest(connection)
        assert answers.count(b"HTTP/1.1 200") <= 17
        assert answers.count(b"HTTP/1.1 400") == 1


# -- sessions ------------------------------------------------------------------------------------------------------
def pinging(patience=1.5, **more):
    limits = ServiceTimeouts(linger=0.01)
    return InferenceServer({"only": source(more or {"a": Puppet})}, port=0, ping_interval=0.1, ping_timeout=patience,
                           limits=limits)  # fmt: skip


def gone(server, sessions=0):
    until(lambda: get_json(server, "/api/v1/status")["sessions"] <= sessions, "the session ends")


@pytest.mark.rule("C-12")
def test_a_session_whose_peer_answers_no_ping_ends_and_one_that_does_lives_on():
    # As long as a busy machine may keep one that lives.
    with pinging(6.0) as server, robot(server) as quiet:
        quiet.opened()
        with dialled(server, UPGRADE + b"\r\n") as silent:
            assert rest(silent).endswith(b"keepalive ping timeout")
        gone(server, sessions=1)
        assert first(quiet.ask(X)) == 1


@pytest.mark.rule("C-12")
def test_a_protocol_whose_clients_are_busy_has_more_patience_for_a_pong():
    patient, others = Patient(), Patient()
    patient.pong_timeout = 1e6
    frontends = {"/patient": patient, "/other": others}
    limits = ServiceTimeouts(linger=0.01)
    with InferenceServer(
        {"only": source({"a": Puppet})}, port=0, ping_interval=0.1, ping_timeout=0.3, limits=limits, frontends=frontends
    ) as server:
        with dialled(server, UPGRADE.replace(b"/api/v1/session", b"/patient") + b"\r\n") as busy:
            for _ in range(2):
                with dialled(server, UPGRADE.replace(b"/api/v1/session", b"/other") + b"\r\n") as silent:
                    assert rest(silent).endswith(b"keepalive ping timeout")
                gone(server, sessions=1)
            assert get_json(server, "/api/v1/status")["sessions"] == 1
            busy.sendall(b"\x88\x80\0\0\0\0")
        gone(server)


class Patient(Frontend):
    def connect(self, scope):
        return V1().connect({**scope, "path": "/api/v1/session"})


@pytest.mark.rule("C-12")
def test_a_peer_that_does_not_even_read_ends():
    """What is left to send to it would keep a connection that is only closed open for ever."""
    large = {"a": lambda: Puppet(lambda episode, inputs: Chunk(np.zeros((1000, 4000))))}
    with pinging(**large) as server, dialled(server, UPGRADE + b"\r\n") as deaf:
        handshake = b""
        while b"session_id" not in handshake:
            handshake += (part := deaf.recv(65536))
            assert part, handshake
        with contextlib.suppress(ConnectionError):  # a busy machine may have come too late for that
            deaf.sendall(b"\x82\x81\0\0\0\0\x80")  # an empty observation
        gone(server)
        assert get_json(server, "/api/v1/status")["sessions"] == 0
        # The connection itself is gone: the kernel throws the rest away instead of keeping it for the peer.
        assert len(rest(deaf)) < 32_000_000


def test_what_is_no_request_fills_no_log(server, caplog):
    for _ in range(20):
        with dialled(server, b"\x16\x03\x01 no request\r\n\r\n") as connection:
            assert rest(connection).startswith(b"HTTP/1.1 400 ")
    told = [record for record in caplog.records if "Invalid HTTP request" in record.getMessage()]
    assert len(told) <= 1
