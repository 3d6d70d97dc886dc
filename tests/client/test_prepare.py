"""What a client's ``prepare`` makes of an observation is what is checked and sent; both clients."""

import time

import numpy as np
import pytest
from offboard_client import BadObservation, ConfigurationError, InferenceClient, ModelLost
from offboard_client.protocol import Clock
from offboard_client.wire import shrink
from scripted_server import OFFBOARD, ScriptedServer

META = {**OFFBOARD, "observation": {"x": {"shape": [2], "dtype": "float32", "unit": None, "required": True}}}


@pytest.fixture
def served():
    """A server that keeps what it is sent, and answers it. Asked for before ``clients``: these leave first."""
    received = []

    def visit(peer):
        peer.ready(META)
        while (frame := peer.receive()) is not None:
            received.append(frame)
            peer.send({"result": [], "offboard.seq": len(received)})

    with ScriptedServer(visit) as server:
        yield server, received


def test_it_is_given_the_observation_and_the_handshake_and_makes_what_is_sent(served, clients):
    server, received = served
    given = []

    def prepare(observation, meta):
        given.append((dict(observation), meta["observation"]))
        return {"x": observation["raw"][:2]}

    session = clients.session("127.0.0.1", server.port, prepare=prepare)
    observation = {"raw": np.arange(4, dtype=np.float32)}
    for _ in range(2):
        assert clients.wait(session.infer(observation)) == []
    clients.wait(session.close())
    assert observation.keys() == {"raw"}
    assert [(kept.keys(), spec) for kept, spec in given] == [({"raw"}, META["observation"])] * 2, "no number of ours"
    assert [frame.keys() for frame in received] == [{"x"}] * 2
    np.testing.assert_array_equal(received[0]["x"], [0, 1])


def test_what_it_makes_of_the_handshake_is_not_the_sessions(served, clients):
    def prepare(observation, meta):
        meta["observation"]["x"]["shape"].append(9)
        return observation

    session = clients.session("127.0.0.1", served[0].port, prepare=prepare)
    assert clients.wait(session.infer({"x": np.zeros(2, np.float32)})) == []
    clients.wait(session.close())
    assert session.metadata["observation"] == META["observation"]


def failing(observation, meta):
    raise RuntimeError("no such camera")


async def asynchronous(observation, meta):
    return observation


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (failing, "nothing was sent: prepare failed: RuntimeError: no such camera"),
        (lambda observation, meta: None, "nothing was sent: prepare returned a NoneType; it returns what is sent"),
        (asynchronous, "prepare returned a coroutine"),
        (lambda observation, meta: {"x": shrink(observation["x"], 9, 9)}, "nothing was sent: an image is .* uint8 RGB"),
        (lambda observation, meta: {"x": np.zeros(3)}, r"x is \(3,\) float64, and \(2,\) float32 is asked for"),
        (
            lambda observation, meta: {**observation, "offboard.seq": 1},
            "offboard.seq tells this client's answers apart",
        ),
    ],
)
def test_what_it_does_wrong_is_named_and_nothing_is_sent(served, clients, prepare, says):
    server, received = served
    wrong = [True]
    session = clients.session(
        "127.0.0.1", server.port, prepare=lambda seen, meta: prepare(seen, meta) if wrong else seen
    )
    observation = {"x": np.zeros(2, np.float32)}
    with pytest.raises(BadObservation, match=says):
        clients.wait(session.infer(observation))
    assert received == []
    wrong.clear()
    assert clients.wait(session.infer(observation)) == [], "the session goes on"
    clients.wait(session.close())


def test_what_it_writes_changes_neither_the_robots_observation_nor_the_handshake(served, clients):
    def prepare(observation, meta):
        observation["x"] = np.ones(2, np.float32)
        with pytest.raises(TypeError, match="does not support item assignment"):
            meta["observation"] = {}
        return observation

    session = clients.session("127.0.0.1", served[0].port, prepare=prepare)
    observation = {"x": np.zeros(2, np.float32)}
    assert clients.wait(session.infer(observation)) == []
    np.testing.assert_array_equal(served[1][0]["x"], [1, 1])
    np.testing.assert_array_equal(observation["x"], [0, 0])
    clients.wait(session.close())


def test_one_that_takes_too_long_is_not_the_servers_fault(served, clients):
    late = [0.0]

    def prepare(observation, meta):
        late[0] += 4000.0
        return observation

    clock = Clock(now=lambda: time.perf_counter() + late[0])
    session = clients.session("127.0.0.1", served[0].port, prepare=prepare, infer_timeout=3600.0, clock=clock)
    for _ in range(2):
        with pytest.raises(BadObservation, match=r"nothing was sent: prepare took 4e\+03 s, longer than infer_timeout"):
            clients.wait(session.infer({"x": np.zeros(2, np.float32)}))
    assert served[1] == []
    clients.wait(session.close())


def test_an_error_of_ours_is_raised_as_it_is(served, clients):
    def prepare(observation, meta):
        raise ModelLost("look elsewhere")

    session = clients.session("127.0.0.1", served[0].port, prepare=prepare)
    with pytest.raises(ModelLost, match="look elsewhere"):
        clients.wait(session.infer({"x": np.zeros(2, np.float32)}))
    clients.wait(session.close())


def test_what_cannot_be_called_is_refused_before_anything_is_opened():
    with pytest.raises(ConfigurationError, match="prepare is 3; expected a function of the observation"):
        InferenceClient("127.0.0.1", 1, prepare=3)
