"""A server that is looked at from outside: real sockets, real WebSockets, and servers that mean no good."""

import contextlib
import itertools
import json
import socket
import threading

import pytest
from offboard_client.doctor import Survey, look_at_way, survey
from offboard_client.errors import BadMessage, ConnectionFailed, ConnectionLost, InferTimeout, Unauthorized
from offboard_client.protocol import Clock
from offboard_client.session import LinkClient, Steps
from scripted_server import META, PATIENCE_S, Gone, RecordingClock, ScriptedServer
from waits import until
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.server import serve

ENOUGH_TRIPS_S = survey.__globals__["ENOUGH_TRIPS_S"]


def looker(port, **settings):
    """Rests take no time."""
    settings = {"connect_timeout": float(PATIENCE_S), "infer_timeout": float(PATIENCE_S), **settings}
    return LinkClient("127.0.0.1", port, **{"clock": RecordingClock(), **settings})


def found(port, **settings):
    client = looker(port, **settings)
    made = Survey(client.server)
    survey(client, made)
    return made


def left(peer):
    """The connection that only looks whether there is one."""
    with contextlib.suppress(Gone):
        peer.read_request()


def page(peer):
    peer.respond(404, ["Date: Sat, 28 Nov 2026 02:00:00 GMT"], b"nothing here")


def read_all(peer):
    peer.upgrade()
    peer.wait_for_close()


def test_every_piece_is_read_before_its_pong():
    with ScriptedServer(read_all) as server, looker(server.port).session("a") as link:
        assert not link.compresses
        assert link.trip() > 0
        assert link.trip(1000) > 0
        assert link.trip(300_000) > 0
        link.close()
        link.close()
        peer = server.peers[0]
        until(lambda: peer.close_received is not None, "goodbye is said")
        assert (peer.pings, link.sent_bytes) == (3, 301_000)
        assert peer.close_received.code == 1000


def test_a_whole_survey_of_a_server_that_is_not_offboards():
    with ScriptedServer(left, page, read_all) as server:
        seen = found(server.port)
        assert server.peers[2].pings == len(seen.trips) + 10 + 7
    assert (seen.kind, seen.why_not, seen.compresses, seen.meta) == ("websocket", "", False, {})
    assert seen.ahead_s is not None
    assert [(len(sent.warm), len(sent.rested)) for sent in seen.sent.values()] == [(5, 4), (3, 3)]
    assert seen.connection is not None
    assert seen.connection.nodelay
    assert [each.failed for each in seen.steps.tried] == [""]


def test_compression_that_a_server_would_do_is_seen_and_harms_nothing():
    with serve(lambda socket: socket.recv(), "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            seen = found(server.socket.getsockname()[1])
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)
    assert (seen.kind, seen.why_not, seen.compresses) == ("websocket", "", True)
    assert len(seen.sent) == 2


def test_a_server_that_takes_no_message_so_large_says_so_and_the_rest_is_kept():
    with serve(lambda socket: socket.recv(), "127.0.0.1", 0, max_size=2**20) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            seen = found(server.socket.getsockname()[1])
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)
    assert "closed the connection (1009" in seen.why_not
    assert len(seen.trips) == 100
    assert seen.sent["two 224x224"].warm


@pytest.mark.parametrize("path", ["", "/api/v1/session/a"])
def test_another_server_is_left_with_a_message_that_is_none(path):
    """It would take one that is whole for an observation."""
    came = []

    def session(socket):
        with contextlib.suppress(ConnectionClosed):
            came.append(socket.recv())

    with serve(session, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = LinkClient(f"ws://127.0.0.1:{server.socket.getsockname()[1]}{path}", clock=RecordingClock())
        try:
            survey(client, seen := Survey(client.server))
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)
    assert (seen.kind, seen.why_not) == ("websocket", "")
    assert came == []


@pytest.mark.parametrize(("seconds", "counts"), [((0.4, 0.002), 0.002), ((0.4, 0.3), 0.3), ((0.05, 0.002), 0.05)])
def test_a_name_that_takes_long_is_asked_for_again(monkeypatch, seconds, counts):
    """The first time this program may have been kept from the processor, or loaded what it needs for it."""
    asked = iter([Steps(each, ()) for each in seconds])
    monkeypatch.setattr(LinkClient, "connect", lambda self: next(asked))
    with ScriptedServer(page, page) as server:
        assert found(server.port).steps == Steps(counts, ())


def test_a_name_that_is_not_found_again_is_what_it_was(monkeypatch):
    asked = iter([Steps(0.4, ())])

    def connect(self):
        for steps in asked:
            return steps
        raise ConnectionFailed("no such name")

    monkeypatch.setattr(LinkClient, "connect", connect)
    with ScriptedServer(page, page) as server:
        assert found(server.port).steps == Steps(0.4, ())


def test_nobody_there_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionFailed, match="refuses connections"):
        found(port)


def test_no_http_and_no_websocket_are_told():
    def mumble(peer):
        peer.raw.sendall(b"220 mail at your service\r\n")

    with ScriptedServer(left, mumble, mumble) as server:
        seen = found(server.port)
    assert seen.kind == ""
    assert "does not answer as a WebSocket server" in seen.why_not
    with ScriptedServer(left, page, page) as server:
        seen = found(server.port)
    assert seen.kind == ""
    assert "answers HTTP 404" in seen.why_not


def test_why_a_session_is_refused_is_told_in_the_servers_words():
    """And not by the code of the close frame alone, which has room for no list of models."""

    def status(peer):
        peer.respond(200, body=json.dumps({"holders": [], "waiting": [], "loaded": {"model": "b"}}).encode())

    def refuse(peer):
        peer.upgrade()
        peer.send(
            {
                "status": "error",
                "error": "there is no model 'a' here;\nthere are: \x1b[2Jb" + "!" * 999,
                "code": "model_not_found",
            }
        )
        peer.close(1008, "model_not_found")
        peer.wait_for_close()

    with ScriptedServer(left, status, refuse) as server:
        seen = found(server.port)
    assert seen.failed
    assert seen.why_not.startswith(f"127.0.0.1:{server.port}: there is no model 'a' here; there are: ")
    assert "\x1b" not in seen.why_not
    assert len(seen.why_not) < 500


def test_a_token_that_is_missing_is_told():
    def locked(peer):
        peer.respond(401, body=b'{"error": "no", "code": "unauthorized"}')

    with ScriptedServer(left, locked) as server:
        seen = found(server.port)
    assert seen.kind == ""
    assert "does not accept the token" in seen.why_not


# -- who means no good -----------------------------------------------------------------------------------------


def silent(peer):
    peer.read_request()
    peer.hold()


def drips(peer):
    with contextlib.suppress(OSError):
        while not peer.done.wait(0.01):
            peer.raw.sendall(b"HTTP/1.1 101 x\r\nA: b" if peer.request is None else b"c")
            peer.request = peer


def headers(peer):
    with contextlib.suppress(OSError):
        peer.raw.sendall(b"HTTP/1.1 101 x\r\n")
        while not peer.done.is_set():
            peer.raw.sendall(b"A: b\r\n" * 1000)


def one_header(peer):
    with contextlib.suppress(OSError):
        peer.raw.sendall(b"HTTP/1.1 101 x\r\nA: ")
        while not peer.done.is_set():
            peer.raw.sendall(b"a" * 65536)


@pytest.mark.parametrize(
    ("visit", "seconds", "error"),
    [
        (silent, 0.3, ConnectionFailed),
        (drips, 0.3, ConnectionFailed),
        (headers, PATIENCE_S, BadMessage),
        (one_header, PATIENCE_S, BadMessage),
    ],
)
def test_a_handshake_without_end_ends(visit, seconds, error):
    with ScriptedServer(visit, hasty=seconds < PATIENCE_S) as server, pytest.raises(error):
        looker(server.port, connect_timeout=seconds).root()


@pytest.mark.parametrize("visit", [silent, drips, headers, one_header])
def test_an_answer_without_end_ends(visit):
    with ScriptedServer(visit, hasty=True) as server, pytest.raises((ConnectionFailed, BadMessage)):
        looker(server.port, connect_timeout=0.3).get("/x")


def never_pongs(peer):
    peer.upgrade()
    peer.hold()


def test_pings_that_pass_where_images_do_not_are_told():
    clock = RecordingClock()

    def swallows(peer):
        peer.upgrade()
        peer.wait_for_pings(100)
        rest = 301_229
        while rest > 0:
            rest -= len(peer.raw.recv(65536))
        clock.slept.append(1000.0)
        peer.raw.sendall(unmasked(Opcode.PONG, b"of something else"))
        peer.hold()

    with ScriptedServer(left, page, swallows) as server:
        seen = found(server.port, clock=clock)
    assert (len(seen.trips), seen.stuck) == (100, True)
    told = {each.what: each.verdict for each in look_at_way(seen, "1.0")}
    assert told["large messages"] == "mend"


def test_a_server_that_answers_no_ping_is_to_be_mended():
    """Whatever its status says: a script that asks before a robot is started has to know."""

    def well(peer):
        loaded = {"model": "a", "health": {"state": "ready"}}
        peer.respond(200, body=json.dumps({"holders": [], "loaded": loaded, "sessions": 0}).encode())

    with ScriptedServer(left, well, never_pongs) as server:
        seen = found(server.port, infer_timeout=0.3)
    assert (seen.kind, seen.failed, seen.trips) == ("offboard", True, [])
    assert "has not answered a ping in 0.3 s" in seen.why_not
    assert {each.what: each.verdict for each in look_at_way(seen, "1.0")}["way"] == "mend"


@pytest.mark.parametrize("step", [0.2, 2.0])
def test_round_trips_that_take_long_have_an_end_together_and_so_has_sending(step):
    """On a clock that goes on by so many seconds each time that somebody looks at it."""
    looks = itertools.count()
    clock = Clock(now=lambda: next(looks) * step, sleep=lambda seconds: None)
    with ScriptedServer(left, left, page, read_all) as server:
        seen = found(server.port, clock=clock, connect_timeout=1e6, infer_timeout=1e6)
    assert len(seen.trips) < 100
    assert ENOUGH_TRIPS_S < sum(seen.trips) < ENOUGH_TRIPS_S + max(seen.trips) + 1e-6
    assert seen.sent["two 224x224"].warm, "the rest is measured all the same"
    if step == 2.0:
        assert "of sending it was enough" in seen.why_not
        assert sum(len(sent.warm) + len(sent.rested) for sent in seen.sent.values()) < 10


def floods(frame):
    def visit(peer):
        peer.upgrade()
        peer.flood(frame)

    return visit


def giant(peer):
    peer.upgrade()
    with contextlib.suppress(OSError):
        peer.raw.sendall(b"\x82\x7f" + (2**40).to_bytes(8, "big"))
        peer.wait_for_close()


def unmasked(opcode, data, fin=True):
    return Frame(opcode, data, fin=fin).serialize(mask=False)


@pytest.mark.parametrize(
    ("visit", "seconds", "says"),
    [
        (never_pongs, 0.3, "has not read 10 bytes"),
        (floods(unmasked(Opcode.PONG, b"1000")), PATIENCE_S, r"sends without end .*: \d\d,\d{3} bytes"),
        (floods(unmasked(Opcode.BINARY, bytes(20000))), PATIENCE_S, "sends without end"),
        (giant, PATIENCE_S, "closed the connection"),
        (lambda peer: peer.upgrade().reset(), PATIENCE_S, "127.0.0.1"),
    ],
)
def test_a_server_that_answers_anything_but_pongs_ends(visit, seconds, says):
    # What comes in one piece with the upgrade is noticed at once.
    with (
        ScriptedServer(visit) as server,
        pytest.raises((ConnectionLost, InferTimeout), match=says),
        looker(server.port, infer_timeout=seconds).root() as link,
    ):
        link.trip(10)


def test_what_a_server_says_first_is_kept_and_no_more_than_a_few():
    def talks(peer):
        peer.ready(META)
        for _ in range(100):
            peer.send({"status": "ready", "meta": {}, "session_id": "x"})
        peer.wait_for_close()

    with ScriptedServer(talks) as server, looker(server.port).root() as link:
        link.trip()
        assert 1 <= len(link.messages) <= 16


def test_the_token_goes_with_every_question():
    seen = []

    def asked(peer):
        seen.append(peer.read_request().headers.get("Authorization"))
        peer.respond(401)

    with ScriptedServer(asked, asked) as server:
        client = looker(server.port, auth_token="secret")
        assert client.get("/x").status == 401
        with pytest.raises(Unauthorized):
            client.root()
    assert seen == ["Bearer secret", "Bearer secret"]
