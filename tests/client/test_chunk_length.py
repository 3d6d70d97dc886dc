"""What a reply may cost the robot: a chunk's length is looked at before time or memory is spent on its rows."""

import json
import tracemalloc

import numpy as np
import pytest
from offboard_client import BadMessage, InvalidAction
from offboard_client.wire import decode, decode_text, encode, rows
from offboard_core import InferenceServer
from scripted_server import ScriptedServer

LONGEST = 4096


def columns(action, times):
    return {"columns": {"action": action, "timestamp": times}}


TOO_LONG = {
    "a time axis of nothing": columns(
        {"target_grip": np.ndarray((10**7, 0), "f4", b"")}, np.ndarray((10**7, 0), "f4", b"")
    ),
    "a million rows": columns({"target_grip": np.zeros((10**6, 1), np.uint8)}, np.zeros(10**6, np.float16)),
    "one row too many": columns(np.zeros((LONGEST + 1, 2)), np.arange(LONGEST + 1.0)),
    "no timestamps": {"columns": {"action": np.zeros((LONGEST + 1, 2))}},
    "many columns": columns({f"c{i}": np.zeros((LONGEST, 1), np.uint8) for i in range(30)}, np.arange(float(LONGEST))),
}


@pytest.mark.rule("R-25")
@pytest.mark.parametrize("result", TOO_LONG)
def test_columns_that_are_too_long_cost_nothing(result):
    value = decode(encode(TOO_LONG[result]))
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage):
            rows(value)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.rule("R-25")
def test_rows_that_are_too_long_are_refused_in_either_encoding():
    many = [{"action": [0.0]}] * (LONGEST + 1)
    for value in (decode(encode(many)), decode_text(json.dumps(many))):
        with pytest.raises(BadMessage, match="4,097 steps and the limit is 4,096"):
            rows(value)
        assert len(rows(value[:-1])) == LONGEST
    assert len(rows(columns(np.zeros((LONGEST, 7)), np.arange(float(LONGEST))))) == LONGEST


def test_a_chunk_that_is_too_long_does_not_end_the_session(clients):
    def visit(peer):
        peer.ready()
        for result in (TOO_LONG["a million rows"], []):
            peer.answer(result)
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadMessage, match="1,000,000 steps"):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("R-25")
def test_a_server_refuses_its_own_models_absurd_chunk(clients):
    def policy(observation):
        return np.zeros((int(observation["n"]), 1), np.float32)

    with InferenceServer({"m": lambda: policy}, port=0, fps=10) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(InvalidAction, match=r"a chunk of 1,000,000 steps, and at most 4,096 are sent; .* \(T, D\)"):
            clients.wait(session.infer({"n": 10**6}))
        assert len(clients.wait(session.infer({"n": LONGEST}))) == LONGEST
        clients.wait(session.close())
