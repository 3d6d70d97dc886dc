"""Answers and observations keep in step: each answer is that of the last observation, or the session is over."""

import threading

import numpy as np
import pytest
from offboard_client import BadObservation, ConnectionLost, PolicyFailed
from offboard_core import InferenceServer
from relay import Relay
from scripted_server import META, OFFBOARD, PATIENCE_S, ScriptedServer, good


def row(number):
    return [{"action": {"n": np.array([float(number)])}, "timestamp": 0.0}]


@pytest.mark.rule("L-13")
def test_observations_are_numbered_on_each_connection(clients):
    def visit(peer):
        peer.ready()
        for _ in range(3):
            peer.answer([])
            seen.append(peer.seq)
        peer.receive()
        peer.reset()

    seen = []
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        for _ in range(3):
            clients.wait(session.infer({}))
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        clients.wait(session.infer({}))
        clients.wait(session.close())
        assert seen == [1, 2, 3]
        assert server.peers[1].seq == 1


@pytest.mark.rule("L-20")
@pytest.mark.parametrize("meta", [META, OFFBOARD])
@pytest.mark.parametrize("reply", [{"result": []}, {"error": "no", "code": "policy_failed"}])
@pytest.mark.parametrize("seq", [0, 2, -1, True, 1.0, "1", [1], np.ones(2)])
def test_an_answer_to_another_observation_ends_the_session(clients, meta, reply, seq):
    def visit(peer):
        peer.ready(meta)
        peer.receive()
        peer.send({**reply, "offboard.seq": seq})
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(ConnectionLost, match="1 was in flight"):
            clients.wait(session.infer({}))
        clients.wait(session.close())


@pytest.mark.rule("L-20")
@pytest.mark.parametrize("meta", [META, OFFBOARD])
def test_who_echoes_must_go_on_echoing(clients, meta):
    def visit(peer):
        peer.ready(meta)
        peer.answer([])
        peer.receive()
        peer.send({"result": []})
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({})) == []
        with pytest.raises(ConnectionLost, match="answered observation None where 2 was in flight"):
            clients.wait(session.infer({}))


@pytest.mark.rule("L-20")
def test_a_server_of_ours_that_does_not_echo_is_out_of_step(clients):
    def visit(peer):
        peer.ready(OFFBOARD)
        peer.receive()
        peer.send({"result": []})
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(ConnectionLost, match="come apart"):
            clients.wait(session.infer({}))


@pytest.mark.rule("L-20")
def test_a_foreign_server_need_not_echo_and_an_error_may_not_know_its_number(clients):
    def visit(peer):
        peer.ready(META)
        peer.receive()
        peer.send({"result": []})
        peer.wait_for_close()

    def ours(peer):
        peer.ready(OFFBOARD)
        peer.receive()
        peer.send({"error": "unreadable", "code": "policy_failed"})
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit, ours) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(PolicyFailed):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_the_number_is_the_clients_own(clients):
    with ScriptedServer(good) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadObservation, match=r"offboard\.seq .* leave it out"):
            clients.wait(session.infer({"offboard.seq": 7}))
        clients.wait(session.infer({}))
        clients.wait(session.close())


@pytest.mark.rule("L-22")
@pytest.mark.parametrize("cut", [1, 2, 3, 10])
def test_an_answer_that_began_before_its_observation_is_nobodys(clients, cut):
    """Of a server that does not echo: what had begun to arrive before the request was sent answers something else."""

    def visit(peer):
        peer.ready()
        peer.receive()
        peer.send({"result": row(1)})
        frame = b"\x82" + bytes([len(stale)]) + stale
        peer.raw.sendall(frame[:cut])
        begun.set()
        peer.done.wait(0.1)
        peer.raw.sendall(frame[cut:])
        peer.wait_for_close()

    from offboard_client.wire import encode

    stale, begun = encode({"result": [{"action": {"n": [9.0]}}]}), threading.Event()
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({}))[0]["action"]["n"] == 1
        assert begun.wait(PATIENCE_S)
        with pytest.raises(ConnectionLost, match="was not asked for"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_a_server_that_breaks_off_before_it_is_asked_is_lost(clients):
    def visit(peer):
        peer.ready()
        peer.answer([])
        peer.raw.sendall(b"\x82")
        begun.set()
        peer.done.wait(0.1)
        peer.reset()

    begun = threading.Event()
    with ScriptedServer(visit, good) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({})) == []
        assert begun.wait(PATIENCE_S)
        with pytest.raises(ConnectionLost, match="closed the connection"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


def test_a_ping_that_arrives_in_two_pieces_ends_nothing(clients):
    def visit(peer):
        peer.ready()
        peer.answer([])
        peer.raw.sendall(b"\x89")
        begun.set()
        peer.done.wait(0.1)
        peer.raw.sendall(b"\x03abc")
        peer.answer([])
        peer.wait_for_close()

    begun = threading.Event()
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({})) == []
        assert begun.wait(PATIENCE_S)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
        assert server.peers[0].pongs == [b"abc"]


@pytest.fixture(scope="module")
def counting():
    """A server of ours that answers each observation with its own number."""
    with InferenceServer({"m": lambda: lambda o: {"n": [o["n"]]}}, port=0, fps=10) as server:
        yield server.port


@pytest.mark.rule("L-13", "L-20")
def test_a_proxy_that_delivers_answers_twice_shifts_nothing(clients, counting):
    with Relay(counting, twice=True) as relay:
        session = clients.session("127.0.0.1", relay.port, reconnect_deadline=20)
        got, lost = {}, 0
        for n in range(12):
            try:
                (answer,) = clients.wait(session.infer({"n": float(n)}))
                got[n] = float(np.asarray(answer["action"]["n"]).item())
            except ConnectionLost:
                lost += 1
        clients.wait(session.close())
    assert lost
    assert got
    assert all(n == answer for n, answer in got.items())


def test_the_model_does_not_see_the_number(clients):
    seen = []

    def policy(observation):
        seen.append(sorted(observation))
        return np.zeros((1, 2))

    with InferenceServer({"m": lambda: policy}, port=0, fps=10) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.infer({"a": 1.0}))
        clients.wait(session.close())
    assert seen == [["a"]]
