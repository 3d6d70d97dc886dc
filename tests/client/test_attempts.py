"""How long a client tries to reach a server, how often, and what it says meanwhile."""

import contextlib
import errno
import socket
import threading

import pytest
from offboard_client import ConnectionFailed, ConnectionLost
from offboard_client.protocol import from_os_error, parse_address
from scripted_server import ScriptedServer, good
from waits import reached


@pytest.fixture
def nobody():
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def refuse(peer):
    peer.respond(503)


def drop(peer):
    peer.reset()


def leave(peer):
    """What a proxy does when nothing is behind it."""


@pytest.mark.parametrize("call", ["session", "models"])
def test_an_address_where_nobody_listens_is_given_up_soon(clients, nobody, call):
    clock, shown = clients.clock(stands=True), []
    client = clients.client("127.0.0.1", nobody, clock=clock, on_status=shown.append)
    text = r"refuses connections.*gave up after 8 attempts within 5 s; wait_for_server=, or --wait, waits longer"
    with pytest.raises(ConnectionFailed, match=text):
        clients.wait(client.new_session() if call == "session" else client.list_models())
    assert clock.slept[:7] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 1.35])
    assert 4 < sum(clock.slept) <= 4.5
    assert [status.state for status in shown] == ["connecting"] * 7
    assert "refuses connections: is the server running there?; attempt 2 in 0.1 s, giving up in 5 s" in shown[0].message


def test_who_starts_both_at_once_waits_as_long_as_was_said(clients, nobody):
    clock = clients.clock(stands=True)
    with pytest.raises(ConnectionFailed, match="within 60 s"):
        clients.session("127.0.0.1", nobody, clock=clock, wait_for_server=60)
    assert 55 < sum(clock.slept) <= 59.5
    assert max(clock.slept) == 5.0


def test_the_whole_deadline_is_used(clients, nobody):
    clock = clients.clock(stands=True)
    with pytest.raises(ConnectionFailed, match="within 10 s"):
        clients.session("127.0.0.1", nobody, clock=clock, wait_for_server=900, connect_deadline=10)
    assert 9 < sum(clock.slept) <= 9.5


def test_a_server_that_is_there_has_the_whole_deadline(clients):
    clock = clients.clock(stands=True)
    with ScriptedServer(*[refuse] * 10, good) as server:
        session = clients.session("127.0.0.1", server.port, clock=clock)
        clients.wait(session.infer({}))
        clients.wait(session.close())
    assert clock.slept == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])


@pytest.mark.parametrize("visit", [drop, leave])
def test_a_port_that_closes_without_a_word_is_given_up_soon(clients, visit):
    with ScriptedServer(*[visit] * 8) as server, pytest.raises(ConnectionFailed, match="within 5 s"):
        clients.session("127.0.0.1", server.port, clock=clients.clock(stands=True))


def test_the_attempt_that_the_end_of_the_time_cuts_short_is_not_the_one_that_is_told(clients):
    """It was told nothing, and the one before it why."""

    def silent(peer):
        clock.slept.append(1000.0)
        peer.read_request()
        peer.raw.sendall(b"H")

    clock = clients.clock()
    gave_up = pytest.raises(ConnectionFailed, match=r"answers HTTP 503.*gave up after 2 attempts within 900 s")
    with ScriptedServer(refuse, silent) as server, gave_up:
        clients.session("127.0.0.1", server.port, clock=clock)


def test_a_connection_that_is_there_too_late_is_closed(clients, monkeypatch):
    def visit(peer):
        with contextlib.suppress(ConnectionError):
            assert not peer.raw.recv(1)
        closed.set()

    clock, closed = clients.clock(), threading.Event()
    module = "streams" if clients.kind == "async" else "sockets"
    monkeypatch.setattr(f"offboard_client.session.{module}.tune", lambda raw: clock.slept.append(1000.0))
    with ScriptedServer(visit) as server:
        with pytest.raises(ConnectionFailed, match="does not answer in time"):
            clients.session("127.0.0.1", server.port, clock=clock)
        reached(closed)


def test_after_a_session_the_waits_are_short_and_a_restart_is_waited_for(clients):
    """Nobody listens for a while: what was there once is likely to come back."""

    def first(peer):
        peer.ready()
        peer.receive()
        peer.reset()

    clock = clients.clock(stands=True)
    with ScriptedServer(first, *[leave] * 20, good) as server:
        session = clients.session("127.0.0.1", server.port, clock=clock)
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert clock.slept == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, *[1.0] * 15])


def test_a_further_session_of_a_client_waits_as_long_as_a_lost_one(clients):
    clock = clients.clock(stands=True)
    with ScriptedServer(good, *[leave] * 20, good) as server:
        client = clients.client("127.0.0.1", server.port, clock=clock)
        for _ in range(2):
            session = clients.wait(client.new_session())
            clients.wait(session.infer({}))
            clients.wait(session.close())
    assert len(clock.slept) == 20


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, socket.EAI_AGAIN])
def test_a_lapse_of_the_network_is_tried_again(number):
    failed = from_os_error(OSError(number, "gone"), parse_address("h"))
    assert (failed.again, failed.absent) == (True, True)
    assert not from_os_error(OSError(errno.EACCES, "no"), parse_address("h")).again


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_an_address_that_only_a_server_can_listen_on_is_named(host):
    text = from_os_error(ConnectionRefusedError(), parse_address(host)).error.text
    assert "name the server's own address" in text
