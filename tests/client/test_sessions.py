"""A session that goes well: what is asked for, what is handed out, what is kept alive and measured."""

import threading

import numpy as np
import pytest
from offboard_client import BadObservation, Busy, ConnectionLost, InferTimeout, InvalidAction, PolicyFailed, Status
from scripted_server import META, PATIENCE_S, ScriptedServer

ACTION = np.arange(12, dtype=np.float32).reshape(3, 4)
TIMES = np.arange(3) / 10


def columns(action=ACTION, timestamp=TIMES):
    return {"columns": {"action": action} | ({} if timestamp is None else {"timestamp": timestamp})}


def answering(*results):
    def visit(peer):
        peer.ready()
        for result in results:
            peer.answer(result)
        peer.wait_for_close()

    return visit


@pytest.mark.rule("R-1", "R-16", "R-17")
def test_columns_are_handed_out_as_rows_that_share_their_memory(clients):
    named = {"target_pose": np.tile([0.4, 0, 0.3, 1, 0, 0, 0], (3, 1)), "target_grip": np.zeros((3, 1))}
    with ScriptedServer(answering(columns(), columns(named), columns(timestamp=None))) as server:
        session = clients.session("127.0.0.1", server.port)
        rows = clients.wait(session.infer({"task": "pick"}))
        assert [row["timestamp"] for row in rows] == [0.0, 0.1, 0.2]
        np.testing.assert_array_equal([row["action"]["action"] for row in rows], ACTION)
        assert rows[0]["action"]["action"].base is rows[1]["action"]["action"].base
        assert not rows[0]["action"]["action"].flags.writeable
        rows = clients.wait(session.infer({}))
        assert [sorted(row["action"]) for row in rows] == [["target_grip", "target_pose"]] * 3
        assert rows[2]["action"]["target_pose"].shape == (7,)
        assert [sorted(row) for row in clients.wait(session.infer({}))] == [["action"]] * 3
        clients.wait(session.close())


@pytest.mark.rule("R-2")
def test_null_and_stop_stay_what_they_are(clients):
    rows = [{"action": {"target_grip": [0.5]}, "timestamp": 0.0}]
    with ScriptedServer(answering(None, [], rows, rows[0])) as server:
        session = clients.session("127.0.0.1", server.port)
        assert [clients.wait(session.infer({})) for _ in range(4)] == [None, [], rows, rows]
        clients.wait(session.close())


@pytest.mark.rule("P-6", "R-17", "S-3", "Q-2")
def test_the_request_names_model_parameters_dialect_and_layout(clients):
    with ScriptedServer(answering()) as server:
        session = clients.session(
            "127.0.0.1",
            server.port,
            "run 7/10000?#%:",
            {"codec.fps": 10, "name": "pick", "text": "10"},
            params={"codec.fps": 5, "flag": True},
            headers={"X-Rig": "left"},
            auth_token="secret",
        )
        request = server.peers[0].request
        clients.wait(session.close())
    assert request.path == (
        "/api/v1/session/run%207/10000%3F%23%25%3A?codec.fps=10&flag=true&name=pick&text=%2210%22"
        "&dialect=offboard&layout=columns"
    )
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["X-Rig"] == "left"
    assert "Sec-WebSocket-Extensions" not in request.headers


@pytest.mark.rule("S-8", "M-1")
def test_the_handshake_is_shown_and_kept(clients):
    def visit(peer):
        peer.upgrade()
        peer.send({"status": "waiting", "message": "behind one session"})
        peer.send({"status": "loading", "message": "10 s"})
        peer.send({"status": "ready", "meta": META, "session_id": "s-9"})
        peer.wait_for_close()

    shown = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port, on_status=shown.append)
        assert shown == [Status("waiting", "behind one session"), Status("loading", "10 s")]
        assert session.metadata == META
        assert session.session_id == "s-9"
        assert "10000" in repr(session)
        clients.wait(session.close())
    assert server.peers[0].close_received.code == 1000


def test_status_is_logged_where_nobody_listens(caplog):
    def visit(peer):
        peer.upgrade()
        peer.send({"status": "loading", "message": "12 of 30 s"})
        peer.send({"status": "ready", "meta": META})
        peer.wait_for_close()

    from offboard_client import InferenceClient

    with ScriptedServer(visit) as server, InferenceClient("127.0.0.1", server.port) as client:
        session = client.new_session()
    assert session.metadata == META
    assert [record.getMessage() for record in caplog.records] == ["loading: 12 of 30 s"]


@pytest.mark.rule("L-8", "L-9", "L-10")
def test_control_frames(clients):
    def visit(peer):
        peer.ready()
        for answer in ({"status": "reset"}, {"status": "pong", "model": "10000"}, {"status": "stats", "steps": 3}):
            asked.append(peer.receive())
            peer.send(answer)
        asked.append(peer.receive())
        peer.send({"error": "unknown", "code": "bad_message"})
        peer.answer([])
        peer.wait_for_close()

    asked = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.reset()) is None
        assert clients.wait(session.ping()) == {"model": "10000"}
        assert clients.wait(session.stats()) == {"steps": 3}
        with pytest.raises(Exception, match="unknown"):
            clients.wait(session.stats())
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert asked == [{"type": "reset"}, {"type": "ping"}, {"type": "stats"}, {"type": "stats"}]


@pytest.mark.rule("L-3")
def test_an_error_reply_is_raised_as_its_class_and_the_session_goes_on(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        peer.send({"error": "ValueError in the policy", "code": "policy_failed"})
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(PolicyFailed, match="ValueError in the policy"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_numbers_that_are_not_finite_do_not_reach_the_robot(clients):
    bad = ACTION.copy()
    bad[1, 2] = np.nan
    rows = [{"action": {"target_pose": [0.0, float("inf")]}}]
    with ScriptedServer(answering(columns(bad), rows, columns(timestamp=TIMES * np.nan), columns())) as server:
        session = clients.session("127.0.0.1", server.port)
        for _ in range(3):
            with pytest.raises(InvalidAction, match=r"not finite|are finite"):
                clients.wait(session.infer({}))
        assert len(clients.wait(session.infer({}))) == 3
        clients.wait(session.close())


def test_big_fragmented_and_text_answers_are_read(clients):
    from offboard_client.wire import encode, encode_text

    reply = {"result": columns(np.zeros((2000, 32)), None), "timing": {}}

    def visit(peer):
        peer.ready()
        peer.receive()
        data = encode(reply)
        peer.send_fragments(data[:1000], data[1000:200_000], data[200_000:])
        peer.receive()
        peer.send_text(encode_text({"result": [{"action": [1.0]}]}))
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert len(clients.wait(session.infer({}))) == 2000
        assert clients.wait(session.infer({})) == [{"action": {"action": np.ones(1)}}]
        clients.wait(session.close())


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 16_000, 16_383, 16_390, 65_500, 65_536, 70_001, 3_000_003])
def test_observations_of_every_size_arrive_as_they_were_sent(clients, size):
    image = np.random.default_rng(size).integers(0, 256, size, np.uint8)

    def visit(peer):
        peer.ready()
        for _ in range(2):
            got.append(peer.answer([])["data"])
        peer.wait_for_close()

    got = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.infer({"data": image}))
        clients.wait(session.infer({"data": image[::-1]}))
        clients.wait(session.close())
    np.testing.assert_array_equal(got[0], image)
    np.testing.assert_array_equal(got[1], image[::-1])


def test_what_packing_no_reply_took_is_no_time(clients):
    """The first reply has none before it, and says 0: that is not how long packing takes."""

    def visit(peer):
        peer.ready()
        for spent in (0.0, 0.25):
            peer.answer([], timing={"total_ms": 2.0, "prev_encode_ms": spent})
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.infer({}))
        first = session.timing.last
        clients.wait(session.infer({}))
        second, summary = session.timing.last, session.timing.summary()
        clients.wait(session.close())
    assert first.keys() ^ second.keys() == {"server.prev_encode_ms"}
    assert second["server.prev_encode_ms"] == 0.25
    assert summary["server.prev_encode_ms"] == {"p50": 0.25, "p95": 0.25, "p99": 0.25}


@pytest.mark.rule("L-7")
def test_the_servers_warnings_are_kept(clients):
    def visit(peer):
        peer.ready()
        peer.answer([], warnings=["this model does not read 'imge.wrist'"])
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.infer({}))
        assert session.warnings == ("this model does not read 'imge.wrist'",)
        clients.wait(session.close())


def test_the_time_of_each_step_is_kept(clients):
    with ScriptedServer(answering([], [], [])) as server:
        session = clients.session("127.0.0.1", server.port)
        assert (session.timing.last, session.timing.summary()) == ({}, {})
        for _ in range(3):
            clients.wait(session.infer({"task": "pick"}))
        last, summary = session.timing.last, session.timing.summary()
        clients.wait(session.close())
    assert session.timing.count == 3
    assert sorted(last) == ["decode_ms", "encode_ms", "network_ms", "server.infer_ms", "server.total_ms", "total_ms"]
    assert last["server.total_ms"] == 2.0
    assert last["total_ms"] >= last["encode_ms"] + last["network_ms"] + last["decode_ms"] > 0
    assert summary["server.infer_ms"] == {"p50": 1.0, "p95": 1.0, "p99": 1.0}
    assert summary["total_ms"]["p50"] <= summary["total_ms"]["p99"]


def test_the_observation_is_checked_once_before_anything_is_sent(clients):
    meta = {
        **META,
        "observation": {"robot_state.q": {"shape": [7], "dtype": "float32", "unit": "rad", "required": True}},
    }

    def visit(peer):
        peer.ready(meta)
        got.append(peer.answer([]))
        got.append(peer.answer([]))
        peer.wait_for_close()

    got = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(
            BadObservation,
            match=r"robot_state\.q \(7,\) float32 \[rad\] is missing \(is it what you call robot_state\.qq",
        ):
            clients.wait(session.infer({"robot_state.qq": np.zeros(7)}))
        clients.wait(session.infer({"joint_positions": np.zeros(7)}))
        clients.wait(session.infer({"anything": 1}))
        clients.wait(session.close())
    assert [sorted(observation) for observation in got] == [["joint_positions"], ["anything"]]


@pytest.mark.rule("L-4")
def test_pings_are_answered_while_the_session_idles_and_while_it_waits(clients, monkeypatch):
    monkeypatch.setattr("offboard_client.session.blocking._KEEP_EVERY_S", 0.01)

    def visit(peer):
        peer.ready()
        peer.ping_pong()
        idle.set()
        peer.receive()
        peer.ping_pong()
        peer.send({"result": []})
        peer.wait_for_close()

    idle = threading.Event()
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert idle.wait(PATIENCE_S)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
        assert server.peers[0].pongs == [b"alive?"] * 2


def test_the_keeper_ends_with_its_session(monkeypatch):
    from offboard_client import InferenceClient

    def keepers():
        return [thread for thread in threading.enumerate() if thread.name.startswith("offboard-keeper")]

    monkeypatch.setattr("offboard_client.session.blocking._KEEP_EVERY_S", 0.01)
    with ScriptedServer(answering()) as server:
        session = InferenceClient("127.0.0.1", server.port).new_session()
        (keeper,) = keepers()
        session.close()
        keeper.join(PATIENCE_S)
        assert keepers() == []


def test_ctrl_c_while_the_keeper_starts_closes_the_socket(monkeypatch):
    from offboard_client import InferenceClient

    started, start = [], threading.Thread.start

    def interrupted(thread):
        start(thread)
        if thread.name.startswith("offboard-keeper"):
            started.append(thread)
            raise KeyboardInterrupt

    def visit(peer):
        peer.ready()
        peer.wait_for_close()
        gone.set()

    gone = threading.Event()
    with ScriptedServer(visit) as server:
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        # Whoever holds the error holds what its frames hold: nothing may depend on that being let go.
        with pytest.raises(KeyboardInterrupt) as raised:
            InferenceClient("127.0.0.1", server.port).new_session()
        assert gone.wait(PATIENCE_S)
        started[0].join(PATIENCE_S)
        assert not started[0].is_alive()
        del raised


def test_a_second_call_at_the_same_time_is_busy(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        in_flight.set()
        release.wait(PATIENCE_S)
        peer.send({"result": []})
        peer.wait_for_close()

    in_flight, release = threading.Event(), threading.Event()
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        answers = []
        first = threading.Thread(target=lambda: answers.append(clients.wait(session.infer({}))))
        first.start()
        assert in_flight.wait(PATIENCE_S)
        with pytest.raises(Busy, match="one exchange at a time"):
            clients.wait(session.infer({}))
        release.set()
        first.join(PATIENCE_S)
        assert answers == [[]]
        clients.wait(session.close())


def test_closing_ends_a_call_that_another_thread_is_in(clients):
    def visit(peer):
        peer.ready()
        peer.receive()
        in_flight.set()
        peer.wait_for_close()

    in_flight, raised = threading.Event(), []

    def ask():
        with pytest.raises((ConnectionLost, InferTimeout)) as caught:
            clients.wait(session.infer({}))
        raised.append(caught.type)

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        thread = threading.Thread(target=ask)
        thread.start()
        assert in_flight.wait(PATIENCE_S)
        clients.wait(session.close())
        thread.join(PATIENCE_S)
        assert raised == [ConnectionLost]
        with pytest.raises(ConnectionLost, match="was closed here"):
            clients.wait(session.infer({}))
        clients.wait(session.close())
