"""What an observation brings for the inference itself is sent where it is taken, and nowhere else."""

import numpy as np
import pytest
from offboard_client import BadObservation
from offboard_client.wire import CONTEXT, columns, rows
from scripted_server import META, OFFBOARD, ScriptedServer

PREFIX = {"target_joints": np.arange(6.0).reshape(2, 3)}
BROUGHT = {
    "offboard.prefix": PREFIX,
    "offboard.delay_steps": 1,
    "offboard.seed": 7,
    "offboard.history": [{"robot_state.q": np.ones(3)}],
}


@pytest.mark.rule("O-13")
def test_what_the_server_takes_is_sent_as_it_is(clients):
    received = []

    def visit(peer):
        peer.ready({**OFFBOARD, "context": sorted(CONTEXT)})
        received.append(peer.receive())
        peer.send({"result": [], "offboard.seq": 1})
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({"x": 1, **BROUGHT})) == []
        clients.wait(session.close())
    found = received[0]
    assert found.keys() == {"x", *BROUGHT}
    np.testing.assert_array_equal(found["offboard.prefix"]["target_joints"], PREFIX["target_joints"])


@pytest.mark.rule("O-13")
@pytest.mark.parametrize("meta", [META, {**OFFBOARD, "context": []}, {**OFFBOARD, "context": None}])
@pytest.mark.parametrize("name", BROUGHT)
def test_what_the_server_does_not_take_is_not_sent(clients, meta, name):
    def visit(peer):
        peer.ready(meta)
        peer.answer([])
        received.append(peer.seq)
        peer.wait_for_close()

    received = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadObservation, match=f"{name} was not sent: the model on this server does not take it"):
            clients.wait(session.infer({"x": 1, name: BROUGHT[name]}))
        assert clients.wait(session.infer({"x": 1, name: None})) == [], "the session goes on; None is nothing"
        clients.wait(session.close())
    assert received == [1]


@pytest.mark.rule("O-13", "M-23")
def test_the_handshakes_reason_is_told(clients):
    def visit(peer):
        peer.ready({**OFFBOARD, "context": ["seed"], "context_refused": {"prefix": "the grip leaves as 0 or 1"}})
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadObservation, match=r"the grip leaves as 0 or 1\. It takes offboard\.seed"):
            clients.wait(session.infer({"x": 1, "offboard.prefix": PREFIX}))
        clients.wait(session.close())


@pytest.mark.rule("O-16")
@pytest.mark.parametrize("wired", [True, False])
def test_rows_that_are_not_played_yet_become_columns_again(wired):
    action = {"target_joints": np.arange(12.0).reshape(4, 3), "target_grip": np.linspace(0, 1, 4)[:, None]}
    if wired:
        chunk = rows({"columns": {"action": action, "timestamp": np.arange(4) / 10}})
    else:
        chunk = rows([{"action": {name: column[i] for name, column in action.items()}} for i in range(4)])
    left = columns(chunk[1:])
    assert left.keys() == action.keys()
    for name, column in action.items():
        np.testing.assert_array_equal(left[name], column[1:])
    with pytest.raises(ValueError, match="no rows; leave the prefix out"):
        columns(chunk[4:])


def test_rows_of_two_chunks_are_no_prefix():
    with pytest.raises(ValueError, match="not of one chunk"):
        columns([{"action": {"a": np.ones(1)}}, {"action": {"b": np.ones(1)}}])
    with pytest.raises(ValueError, match="same shape"):
        columns([{"action": {"a": np.ones(1)}}, {"action": {"a": np.ones(2)}}])
