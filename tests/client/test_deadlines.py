"""Every call of a client ends when it must, whatever the server sends meanwhile."""

import socket
import threading

import numpy as np
import pytest
from offboard_client import ConnectionFailed, ConnectionLost, InferTimeout
from offboard_client.protocol import WebSocket, parse_address
from offboard_client.wire import DEFAULT_LIMITS, encode
from scripted_server import META, PATIENCE_S, ScriptedServer, good

PING, PONG, FIRST, MORE = b"\x89\x00", b"\x8a\x00", b"\x02\x00", b"\x00\x00"
FLOODS = {"pings": PING, "pongs": PONG, "empty fragments": MORE, "large pings": b"\x89\x7d" + bytes(125)}


@pytest.mark.rule("L-23")
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_an_exchange_at_once(clients, flood):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.raw.sendall(FIRST if flood == "empty fragments" else b"")
        peer.flood(FLOODS[flood])

    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(ConnectionLost, match="floods: more than 200 pings"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("L-23")
def test_a_flood_while_nobody_asks_ends_the_session(clients, monkeypatch):
    monkeypatch.setattr("offboard_client.session.blocking._KEEP_EVERY_S", 0.01)

    def visit(peer):
        peer.ready()
        opened.wait(PATIENCE_S)
        peer.flood(PING)
        flooded.set()

    opened, flooded = threading.Event(), threading.Event()
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        opened.set()
        with pytest.raises(ConnectionLost, match="floods"):
            clients.wait(session.infer({}))
        assert flooded.wait(PATIENCE_S)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_closing_does_not_wait_for_a_flood_to_end(clients):
    def visit(peer):
        peer.ready()
        opened.wait(PATIENCE_S)
        peer.flood(PONG)

    opened = threading.Event()
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        opened.set()
        clients.wait(session.close())


def test_a_flood_of_status_frames_is_no_handshake(clients):
    def visit(peer):
        peer.upgrade()
        status = encode({"status": "loading", "message": "x"})
        peer.flood(b"\x82" + bytes([len(status)]) + status, 100)

    shown = []
    with ScriptedServer(visit) as server, pytest.raises(ConnectionFailed, match="floods"):
        clients.session("127.0.0.1", server.port, on_status=shown.append)
    assert len(shown) <= 201


def test_a_flood_is_neither_answered_nor_kept():
    now = [0.0]
    end = WebSocket("ws://h/", {}, parse_address("h"), DEFAULT_LIMITS, lambda: now[0])
    _accept(end)
    end.feed(PING * 200)
    assert len(end.outgoing()) == 200 * 6
    now[0] = 2.0
    end.feed(PING * 100)  # so many in another second are nothing
    assert end.open
    end.outgoing()
    end.feed(FIRST + MORE * 4000)
    assert end.flooded
    assert not end.open
    assert end.ended
    assert end.outgoing() == b""
    held = len(end._fragments)
    end.feed(MORE * 4000)
    assert len(end._fragments) == held


def test_a_large_message_in_fragments_of_a_kilobyte_is_no_flood():
    end = WebSocket("ws://h/", {}, parse_address("h"), DEFAULT_LIMITS, lambda: 0.0)
    _accept(end)
    part = b"\x7e\x04\x00" + bytes(1024)
    end.feed(b"\x02" + part + (b"\x00" + part) * 1000 + b"\x80\x00")
    assert end.open
    assert len(end.messages.popleft()) == 1001 * 1024


def _accept(end):
    from websockets.server import ServerProtocol

    server = ServerProtocol()
    server.receive_data(end.outgoing())
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    end.feed(b"".join(server.data_to_send()))
    assert end.open


@pytest.mark.parametrize("frame", [PING, b"\x8a\x01x"])
def test_frames_that_trickle_in_do_not_extend_an_exchange(clients, frame):
    def visit(peer):
        peer.ready()
        peer.receive()
        while not peer.done.wait(0.05):  # who is kept from the processor for seconds finds no flood
            peer.raw.sendall(frame)

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port, infer_timeout=0.3)
        with pytest.raises(InferTimeout, match=r"0\.3 s"):
            clients.wait(session.infer({}))


@pytest.mark.parametrize(
    "head", [b"\x82\x7e\x08\x00", b"\x02\x7e\x08\x00", b"\x82\x7f" + bytes(4) + b"\x01\x00\x00\x00"]
)
def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(clients, head):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.raw.sendall(head)
        while not peer.done.wait(0.01):  # it is not whole before seconds are over
            peer.raw.sendall(b"x")

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port, infer_timeout=0.3)
        with pytest.raises(InferTimeout, match=r"0\.3 s"):
            clients.wait(session.infer({}))


def test_an_answer_that_comes_as_the_deadline_passes_is_not_played(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        clock.slept.append(1000.0)
        peer.send({"result": [{"action": {"x": [1.0]}}]})
        peer.wait_for_close()

    clock = clients.clock()
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port, clock=clock)
        with pytest.raises(InferTimeout):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_a_server_that_reads_in_sips_is_a_timeout(clients, certificate):
    """Over TLS a message goes out in records of 16 KB, each of which used to have the whole time."""

    def sipping(peer):
        peer.ready()
        while not peer.done.wait(0.01):
            peer.raw.recv(1024)

    with ScriptedServer(sipping, tls=certificate.server) as server:
        session = clients.session(f"wss://localhost:{server.port}", ssl=certificate.client, infer_timeout=0.5)
        with pytest.raises(InferTimeout):
            clients.wait(session.infer({"image": np.zeros(30_000_000, np.uint8)}))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_a_list_of_models_that_drips_in_is_left(clients, head):
    def visit(peer):
        peer.raw.recv(65536)
        peer.raw.sendall(head)
        while not peer.done.wait(0.02):
            peer.raw.sendall(b"x")

    with ScriptedServer(visit, hasty=True) as server:
        client = clients.client("127.0.0.1", server.port, connect_timeout=0.3)
        with pytest.raises(ConnectionFailed, match="does not answer in time"):
            clients.wait(client.list_models())


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 101 Switching Protocols\r\nX-A: "])
def test_an_upgrade_that_drips_in_is_left(clients, head):
    def visit(peer):
        peer.read_request()
        peer.raw.sendall(head)
        while not peer.done.wait(0.02):
            peer.raw.sendall(b"x")

    hasty = ScriptedServer(visit, hasty=True)
    with hasty as server, pytest.raises(ConnectionFailed, match="does not answer in time"):
        clients.session("127.0.0.1", server.port, connect_timeout=0.3, wait_for_server=0.2)


def test_status_frames_do_not_extend_the_opening(clients):
    def visit(peer):
        peer.upgrade()
        while not peer.done.wait(0.05):
            peer.send({"status": "loading", "message": "for ever"})

    clock = clients.clock()
    with ScriptedServer(visit) as server, pytest.raises(ConnectionFailed, match=r"within 900 s"):
        clients.session("127.0.0.1", server.port, clock=clock, on_status=lambda _: clock.slept.append(25.0))


def test_a_resolver_that_hangs_does_not_extend_a_connection(clients, monkeypatch):
    real, ended = socket.getaddrinfo, threading.Event()

    def hanging(host, *args, **kwargs):
        if host == "hangs.invalid":
            ended.wait(PATIENCE_S)
        return real("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    try:
        with pytest.raises(ConnectionFailed, match="does not answer in time"):
            clients.session("hangs.invalid", connect_timeout=0.2, wait_for_server=0.1)
    finally:
        ended.set()


def test_no_address_of_a_name_uses_up_the_time_of_the_others(clients, monkeypatch):
    """A host whose first address is a black hole: a listener that accepts nothing and whose queue is full."""

    def both(host, port, *args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in (hole_port, port)]

    with socket.socket() as hole, ScriptedServer(*[good] * 9, hasty=True) as server:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        hole_port = hole.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", hole_port))
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", both)
            session = clients.session("two.invalid", server.port, connect_timeout=3.0, wait_for_server=PATIENCE_S)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
        for filler in fillers:
            filler.close()


def test_a_peer_that_vanishes_is_noticed_by_the_kernel(clients):
    with ScriptedServer(good) as server:
        session = clients.session("127.0.0.1", server.port)
        connection = session._connection
        raw = connection._socket if clients.kind == "blocking" else connection._writer.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE"):  # Linux's and Windows' name, and that of macOS
            if hasattr(socket, name):
                assert raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == 5
        clients.wait(session.infer({}))
        clients.wait(session.close())
    assert META["checkpoint_id"] == session.metadata["checkpoint_id"]
