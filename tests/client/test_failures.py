"""What a client does when a session cannot be opened, or breaks: what it tries again, what it raises."""

import asyncio
import contextlib
import socket
import ssl
import threading

import numpy as np
import pytest
from offboard_client import (
    BadMessage,
    BadObservation,
    BadParameter,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    Full,
    Idle,
    InferTimeout,
    LoadFailed,
    ModelLost,
    ModelNotFound,
    OffboardError,
    ProtocolError,
    ServerChanged,
    ShuttingDown,
    Unauthorized,
)
from scripted_server import META, PATIENCE_S, ScriptedServer, good, patient


def refusing(status, *headers, body=b""):
    return lambda peer: peer.respond(status, headers, body)


def failing(error, code, close=1008):
    def visit(peer):
        peer.upgrade()
        peer.send({"status": "error", "error": error, "code": code})
        peer.close(close, code)
        peer.wait_for_close()

    return visit


def silent_before_the_upgrade(peer):
    peer.read_request()


def silent_after_the_upgrade(peer):
    peer.upgrade()


def reset_before_ready(peer):
    peer.upgrade()
    peer.send({"status": "loading", "message": ""})
    peer.reset()


def closed_before_ready(peer):
    peer.upgrade()
    peer.close(1012, "restarting")
    peer.wait_for_close()


FORBIDDEN = refusing(403)
AGAIN = [
    refusing(500),
    refusing(502),
    refusing(503),
    refusing(429),
    FORBIDDEN,
    silent_before_the_upgrade,
    silent_after_the_upgrade,
    reset_before_ready,
    closed_before_ready,
    failing("16 sessions are open", "full"),
    failing("draining", "shutting_down"),
]
FINAL = [
    (refusing(401), Unauthorized, "token"),
    (refusing(404), ConnectionFailed, "404"),
    (refusing(400), ConnectionFailed, "400"),
    (refusing(302, "Location: /elsewhere"), ConnectionFailed, "302"),
    (refusing(200), ConnectionFailed, "200"),
    (failing("no 'x'; there are: 10000", "model_not_found"), ModelNotFound, "there are: 10000"),
    (failing("out of memory", "load_failed"), LoadFailed, "out of memory"),
    (failing("fsp; did you mean fps?", "bad_parameter"), BadParameter, "did you mean fps"),
    (failing("from the future", "no_such_code"), OffboardError, "from the future"),
    (lambda peer: peer.upgrade().send({"status": "warming"}), ProtocolError, "'warming'"),
    (lambda peer: peer.upgrade().send({"meta": {}}), ProtocolError, "protocol v1"),
    (lambda peer: peer.upgrade().send({"status": "ready"}), ProtocolError, "'meta'"),
    (lambda peer: peer.upgrade().send([1]), ProtocolError, "map"),
    (lambda peer: peer.upgrade().send_bytes(b"\xc1"), ProtocolError, "msgpack"),
]


@pytest.mark.parametrize("visit", AGAIN)
def test_what_may_pass_is_tried_again(clients, visit):
    clock, shown = clients.clock(stands=True), []
    with ScriptedServer(visit, visit, good) as server:
        session = clients.session("127.0.0.1", server.port, clock=clock, on_status=shown.append)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert clock.slept == ([1.0, 1.0] if visit is FORBIDDEN else [0.05, 0.1])
    waits = [status.message for status in shown if status.state == "connecting"]
    assert len(waits) == 2
    assert f"127.0.0.1:{server.port}" in waits[0]
    assert f"attempt 2 in {1.0 if visit is FORBIDDEN else 0.1} s, giving up in" in waits[0]


@pytest.mark.rule("S-9")
@pytest.mark.parametrize(("visit", "kind", "says"), FINAL)
def test_what_cannot_pass_is_raised_at_once(clients, visit, kind, says):
    clock = clients.clock(stands=True)
    with ScriptedServer(visit) as server:
        with pytest.raises(kind, match=says) as caught:
            clients.session("127.0.0.1", server.port, clock=clock)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert type(caught.value) is kind
    assert clock.slept == []


def test_forbidden_is_tried_three_times(clients):
    clock = clients.clock(stands=True)
    with ScriptedServer(*[refusing(403)] * 3) as server, pytest.raises(ConnectionFailed, match="403"):
        clients.session("127.0.0.1", server.port, clock=clock)
    assert clock.slept == [1.0, 1.0]


@pytest.mark.rule("C-10")
def test_retry_after_is_kept_and_the_body_names_the_error(clients):
    body = b'{"error": "16 sessions are open", "code": "full"}'
    clock = clients.clock(chance=0.0, stands=True)
    with ScriptedServer(refusing(503, "Retry-After: 7", body=body), good) as server:
        session = clients.session("127.0.0.1", server.port, clock=clock)
        clients.wait(session.infer({}))
        clients.wait(session.close())
    assert clock.slept == [7.0]
    gave_up = pytest.raises(Full, match=r"16 sessions are open \(gave up after 1 attempt within 5 s\)")
    with ScriptedServer(refusing(503, "Retry-After: 7", body=body)) as server, gave_up:
        clients.session("127.0.0.1", server.port, clock=clients.clock(stands=True), connect_deadline=5)


def test_the_wait_is_jittered_over_its_whole_length(clients):
    clock = clients.clock(chance=0.25, stands=True)
    with ScriptedServer(refusing(500), refusing(500), refusing(500), good) as server:
        session = clients.session("127.0.0.1", server.port, clock=clock)
        clients.wait(session.infer({}))
        clients.wait(session.close())
    assert clock.slept == [0.0125, 0.025, 0.05]


@pytest.mark.parametrize("stall", [lambda peer: peer.hold(), lambda peer: peer.upgrade().hold()])
def test_a_stalled_handshake_is_left_and_tried_again(clients, stall):
    clock = clients.clock()
    with ScriptedServer(stall, good) as server:
        client = clients.client(
            "127.0.0.1", server.port, clock=clock, connect_timeout=0.5, status_timeout=0.5, connect_deadline=PATIENCE_S,
            wait_for_server=PATIENCE_S, on_status=lambda status: patient(client),
        )  # fmt: skip
        session = clients.wait(client.new_session())
        clients.wait(session.infer({}))
        clients.wait(session.close())
    assert clock.slept[0] == 0.05


def test_a_name_that_does_not_exist_is_final(clients):
    clock = clients.clock()
    with pytest.raises(ConnectionFailed, match=r"nowhere\.invalid:8000"):
        clients.session("nowhere.invalid", clock=clock)
    assert clock.slept == []


def test_a_port_that_speaks_something_else_is_final(clients):
    def visit(peer):
        peer.read_request()
        peer.raw.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        peer.hold()

    with ScriptedServer(visit) as server, pytest.raises(ConnectionFailed, match="right port"):
        clients.session("127.0.0.1", server.port, clock=clients.clock())


# -- after the session is open ---------------------------------------------------------------------------


def test_a_dropped_socket_is_raised_once_and_the_next_call_is_a_new_session(clients):
    def dropping(peer):
        peer.ready(session_id="first")
        seen.append(peer.receive())
        peer.reset()

    def second(peer):
        peer.ready(session_id="second")
        seen.append(peer.answer([]))
        peer.wait_for_close()

    seen = []
    with ScriptedServer(dropping, second) as server:
        session = clients.session("127.0.0.1", server.port, clock=clients.clock())
        with pytest.raises(ConnectionLost, match=f"127.0.0.1:{server.port}"):
            clients.wait(session.infer({"n": 1}))
        assert clients.wait(session.infer({"n": 2})) == []
        assert session.session_id == "second"
        clients.wait(session.close())
        # The lost session's model is asked for again, and nothing was sent twice.
        assert "session_id=first" in server.peers[1].request.path
    assert seen == [{"n": 1}, {"n": 2}]


def test_a_late_answer_never_meets_the_next_observation(clients):
    def late(peer):
        peer.ready()
        peer.receive()
        asked_again.wait(PATIENCE_S)
        with contextlib.suppress(OSError):
            peer.send({"result": [{"action": {}, "made": "stale"}]})

    def second(peer):
        peer.ready()
        asked_again.set()
        peer.answer([{"action": {}, "made": "fresh"}])
        peer.wait_for_close()

    asked_again = threading.Event()
    with ScriptedServer(late, second) as server:
        session = clients.session("127.0.0.1", server.port, clock=clients.clock(), infer_timeout=1.5)
        with pytest.raises(InferTimeout, match=r"1\.5 s"):
            clients.wait(session.infer({}))
        patient(session)
        assert clients.wait(session.infer({})) == [{"action": {}, "made": "fresh"}]
        clients.wait(session.close())


def test_a_server_that_stops_reading_is_a_timeout(clients):
    def deaf(peer):
        peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.ready()
        peer.hold()

    with ScriptedServer(deaf) as server:
        session = clients.session("127.0.0.1", server.port, infer_timeout=0.2)
        with pytest.raises(InferTimeout):
            clients.wait(session.infer({"image": np.zeros(30_000_000, np.uint8)}))


def test_a_timeout_that_the_server_reports_does_not_end_the_session(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.send({"error": "the policy did not answer within 30 s", "code": "timeout"})
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(InferTimeout, match="the policy did not answer within 30 s"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("M-1")
def test_a_replica_on_another_device_is_the_same_model(clients):
    def visit(peer):
        peer.ready({**META, "device": "cuda:1"})
        peer.receive()
        peer.reset()

    def other(peer):
        peer.ready({**META, "device": "cuda:0"})
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit, other) as server:
        session = clients.session("127.0.0.1", server.port, clock=clients.clock())
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        assert session.metadata["device"] == "cuda:0", "it says where it is now"
        clients.wait(session.close())


@pytest.mark.rule("M-1")
def test_another_model_behind_the_address_is_refused(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.reset()

    def other(peer):
        peer.ready({**META, "checkpoint_id": "20000"})
        peer.wait_for_close()

    with ScriptedServer(visit, other, other) as server:
        session = clients.session("127.0.0.1", server.port, clock=clients.clock())
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        for _ in range(2):
            with pytest.raises(ServerChanged, match=r'checkpoint_id was .* and is "20000"'):
                clients.wait(session.infer({}))


@pytest.mark.rule("C-4", "C-6", "C-7", "C-8")
@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (1008, "idle", Idle),
        (1008, "idle: 10 min without an observation", Idle),
        (1009, "frame exceeds limit", BadMessage),
        (1011, "model_lost", ModelLost),
        (1011, "keepalive ping timeout", ConnectionLost),
        (1012, "shutting_down", ShuttingDown),
        (1012, "", ConnectionLost),
        (1000, "", ConnectionLost),
    ],
)
def test_the_reason_of_a_close_is_the_error(clients, code, reason, kind):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.close(code, reason)
        peer.wait_for_close()

    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(kind, match=str(code)) as caught:
            clients.wait(session.infer({}))
        assert type(caught.value) is kind
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_a_session_that_ended_while_idle_says_why_on_the_next_call(clients, monkeypatch):
    monkeypatch.setattr("offboard_client.session.blocking._KEEP_EVERY_S", 0.01)

    def visit(peer):
        peer.ready()
        peer.answer([])
        peer.send({"error": "idle for 10 min while rig 2 waited", "code": "idle"})
        peer.done.wait(0.05)  # the two need not come together
        peer.close(1008, "idle")
        peer.wait_for_close()
        gone.set()

    gone = threading.Event()
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.infer({}))
        assert gone.wait(PATIENCE_S)
        with pytest.raises(Idle, match="rig 2 waited"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_an_answer_that_nobody_asked_for_ends_the_session(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.send({"result": [{"action": {}, "made": "first"}]})
        peer.send({"result": [{"action": {}, "made": "second"}]})
        sent.set()
        peer.wait_for_close()

    sent = threading.Event()
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({})) == [{"action": {}, "made": "first"}]
        assert sent.wait(PATIENCE_S)
        with pytest.raises(ConnectionLost, match="was not asked"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.parametrize(
    "reply",
    [{}, {"status": "ready"}, {"result": 5}, {"result": "rows"}, {"result": [1]}, {"result": {"columns": 1}}, [1], 7]
    + [{"result": {"columns": columns}} for columns in ({}, {"action": 1}, {"action": {}}, {"action": np.zeros(())})]
    + [{"result": {"columns": {"action": np.zeros((2, 3)), "timestamp": np.zeros(3)}}}]
    + [{"result": {"columns": {"action": {"a": np.zeros((2, 3)), "b": np.zeros((3, 3))}}}}]
    + [{"result": [], "timing": 3}, {"result": [], "warnings": "x"}],
)
def test_a_reply_of_another_form_is_refused(clients, reply):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.send(reply)
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadMessage, match="server"):
            clients.wait(session.infer({}))
        clients.wait(session.close())


@pytest.mark.parametrize("data", [b"\xc1", b"", b"\x81"])
def test_a_reply_that_cannot_be_decoded_ends_the_session(clients, data):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.send_bytes(data)
        peer.wait_for_close()

    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadMessage):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.parametrize("junk", [b"\x83\x00", b"\xff\xff\xff", b"\x82\x7f" + (2**40).to_bytes(8, "big")])
def test_bytes_that_are_no_websocket_frames_lose_the_connection(clients, junk):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.raw.sendall(junk)
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))


def test_what_cannot_be_encoded_is_not_sent_and_the_session_goes_on(clients):
    """What is read badly loses the session; what cannot be sent does not."""
    with ScriptedServer(good) as server:
        session = clients.session("127.0.0.1", server.port)
        for wrong in (object(), np.array([object()]), {1, 2}, 2**70):
            with pytest.raises(BadObservation, match=r"nothing was sent: cannot encode value\['x'\]"):
                clients.wait(session.infer({"x": wrong}))
        with pytest.raises(BadObservation, match="control frame"):
            clients.wait(session.infer({"type": "reset"}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_cancelling_an_infer_closes_the_socket():
    from scripted_server import Both

    def visit(peer):
        peer.ready()
        peer.receive()
        in_flight.set()
        peer.wait_for_close()
        gone.set()

    async def cancelled(session):
        task = asyncio.ensure_future(session.infer({}))
        await asyncio.to_thread(in_flight.wait, PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(gone.wait, PATIENCE_S)
        return await session.infer({})

    in_flight, gone = threading.Event(), threading.Event()
    with ScriptedServer(visit, good) as server, Both("async") as clients:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(cancelled(session)) == []
        assert gone.is_set()
        clients.wait(session.close())


def test_an_interrupted_infer_closes_the_socket(monkeypatch):
    """Ctrl-C in the middle: the answer that is under way belongs to nobody."""
    from offboard_client import InferenceClient

    def visit(peer):
        peer.ready()
        peer.receive()
        peer.wait_for_close()

    with ScriptedServer(visit, good) as server:
        session = InferenceClient("127.0.0.1", server.port).new_session()
        connection = session._connection

        def interrupted(deadline):
            raise KeyboardInterrupt

        monkeypatch.setattr(connection, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.infer({})
        assert session.infer({}) == []
        session.close()


# -- TLS -------------------------------------------------------------------------------------------------


def test_a_certificate_that_does_not_verify_is_final(clients, certificate):
    def visit(peer):
        peer.ready()

    clock = clients.clock()
    with ScriptedServer(visit, tls=certificate.server) as server, pytest.raises(ConnectionFailed, match="certificate"):
        clients.session(f"wss://localhost:{server.port}", clock=clock)
    assert clock.slept == []


def test_a_trusted_certificate_carries_a_session(clients, certificate):
    with ScriptedServer(good, tls=certificate.server) as server:
        session = clients.session(f"wss://localhost:{server.port}", ssl=certificate.client)
        assert clients.wait(session.infer({"image": np.zeros(1_000_000, np.uint8)})) == []
        clients.wait(session.close())


def test_tls_to_a_plain_port_is_told(clients, certificate):
    def visit(peer):
        peer.raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.hold()

    with ScriptedServer(visit) as server, pytest.raises(ConnectionFailed, match="TLS"):
        clients.session(f"wss://localhost:{server.port}", ssl=certificate.client, clock=clients.clock())


# -- arguments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["connect_timeout", "connect_deadline", "status_timeout", "infer_timeout", "reconnect_deadline"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "5", None])
def test_timeouts_are_positive_numbers(clients, name, value):
    with pytest.raises(ConfigurationError, match="expected seconds, a number above 0"):
        clients.client("127.0.0.1", **{name: value})


def test_the_token_comes_from_the_environment_and_is_shown_nowhere(clients, monkeypatch, caplog):
    caplog.set_level(0)
    monkeypatch.setenv("OFFBOARD_AUTH_TOKEN", "s3cret-token")
    with ScriptedServer(refusing(503), good) as server:
        client = clients.client("127.0.0.1", server.port, clock=clients.clock(), on_status=None)
        session = clients.wait(client.new_session())
        clients.wait(session.infer({}))
        # The server of this test is websockets' own, whose log is not the client's.
        logged = "".join(record.getMessage() for record in caplog.records if record.name != "websockets.server")
        shown = repr(client) + repr(session) + repr(client._settings) + logged + server.peers[1].request.path
        clients.wait(session.close())
        assert server.peers[1].request.headers["Authorization"] == "Bearer s3cret-token"
    assert "s3cret" not in shown
    assert "Authorization" not in shown


@pytest.mark.parametrize("token", ["", "two words", "ü", "line\nbreak"])
def test_a_token_that_no_header_can_carry_is_refused(clients, token):
    with pytest.raises(ConfigurationError, match="token"):
        clients.client("127.0.0.1", auth_token=token)


# -- list_models -----------------------------------------------------------------------------------------


def listing(body, status=200, what="models"):
    def visit(peer):
        asked = peer.raw.recv(65536)
        assert asked.startswith(f"GET /prefix/api/v1/{what} HTTP/1.1".encode())
        assert b"Bearer secret" in asked
        head = f"HTTP/1.1 {status} Scripted\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        peer.raw.sendall(head.encode() + body)

    return visit


@pytest.mark.rule("H-1")
def test_models_are_listed(clients):
    with ScriptedServer(listing(b'{"models": ["10000", "20000"]}')) as server:
        client = clients.client(f"http://127.0.0.1:{server.port}/prefix", auth_token="secret")
        assert clients.wait(client.list_models()) == ["10000", "20000"]


@pytest.mark.rule("H-8")
def test_what_a_server_is_doing_is_had_as_it_says_it(clients):
    with ScriptedServer(listing(b'{"replicas": [{"sessions": 1}]}', what="status")) as server:
        client = clients.client(f"http://127.0.0.1:{server.port}/prefix", auth_token="secret")
        assert clients.wait(client.server_status()) == {"replicas": [{"sessions": 1}]}
    with ScriptedServer(listing(b"", 404, "status")) as server, pytest.raises(ConnectionFailed):
        clients.wait(clients.client(f"http://127.0.0.1:{server.port}/prefix", auth_token="secret").server_status())


@pytest.mark.parametrize(
    ("visit", "kind"),
    [
        (listing(b"{}"), BadMessage),
        (listing(b"[" * 5000), BadMessage),
        (listing(b'{"error": "the folder is gone", "code": "configuration"}', 503), ConfigurationError),
        (listing(b"", 401), Unauthorized),
        (listing(b"", 404), ConnectionFailed),
        (lambda peer: peer.raw.sendall(b"SSH-2.0\r\n"), ConnectionFailed),
    ],
)
def test_a_list_that_does_not_come_is_a_typed_error(clients, visit, kind):
    with ScriptedServer(visit) as server, pytest.raises(kind):
        clients.wait(clients.client(f"http://127.0.0.1:{server.port}/prefix", auth_token="secret").list_models())


def test_tls_contexts_verify_by_default():
    from offboard_client import InferenceClient

    context = InferenceClient("wss://gpu-box")._settings.tls
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
