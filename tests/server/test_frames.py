"""How many frames a client may send: counted before they are parsed, and what answers in turn is free."""

import numpy as np
import pytest
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import FrameMeter, InferenceServer
from puppets import Puppet, source
from robots import first, get_json, robot
from websockets.frames import Frame, Opcode

X = {"x": np.zeros(3)}
#: As a client's, masked with zeros: a ping, an empty message, an empty piece of a message, and the start of one.
PING, EMPTY, PIECE, START = (bytes([first, 0x80, 0, 0, 0, 0]) for first in (0x89, 0x82, 0x00, 0x02))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000, 10**6])
def test_frames_are_counted_however_they_are_cut(chunk):
    sizes = [0, 1, 125, 126, 127, 65535, 65536, 0, 0, 300]
    data = b"".join(Frame(Opcode.BINARY, b"\x89" * size).serialize(mask=True) for size in sizes)
    for enough in (True, False):
        meter = FrameMeter(len(sizes) - (not enough), 0.0)
        taken = [meter.take(data[at : at + chunk], 0.0) for at in range(0, len(data), chunk)]
        assert all(taken) is enough


def test_the_bucket_holds_a_seconds_worth_and_fills_at_the_rate():
    meter = FrameMeter(10, 0.0)
    assert meter.take(PING * 10, 0.0)
    assert not meter.take(PING, 0.0)
    meter = FrameMeter(10, 0.0)
    assert meter.take(PING * 10, 100.0)
    assert meter.take(PING * 5, 100.5)
    assert not meter.take(PING, 100.5)
    meter.give_back()
    meter.give_back()
    assert meter.take(PING, 100.5)


@pytest.fixture
def server():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, frame_rate=100) as running:
        yield running


@pytest.mark.rule("L-16")
@pytest.mark.parametrize(
    "flood",
    [PING * 5000, START + PIECE * 5000, EMPTY * 5000, (PING + EMPTY) * 2500],
    ids=["pings", "pieces", "messages", "both"],
)
def test_a_flood_ends_its_own_session_and_no_other(server, flood):
    with robot(server) as one, robot(server) as other:
        one.opened()
        other.opened()
        one.connection.socket.sendall(flood)
        assert one.closed() == 1008
        # Empty messages are observations, of which so many wait at most.
        waits = flood == EMPTY * 5000 and one.reason == "too many frames without waiting for replies"
        assert waits or one.reason == "more than 100 frames a second"
        assert first(other.ask(X)) == 1
    with robot(server) as again:
        again.opened()


@pytest.mark.rule("L-16")
def test_a_flood_while_the_model_loads_ends_the_wait(door):
    def slowly():
        door.passing()
        return Puppet()

    with InferenceServer({"only": source({"a": slowly})}, port=0, frame_rate=100) as server, robot(server) as one:
        one.told("loading")
        one.connection.socket.sendall(PING * 1000)
        assert one.closed() == 1008


def test_who_flooded_does_not_come_back_for_the_model():
    limits = ServiceTimeouts(linger=3600.0, status_every=0.02)
    models = source({"a": Puppet, "b": Puppet})
    with InferenceServer({"only": models}, port=0, frame_rate=100, limits=limits) as server, robot(server) as one:
        one.opened()
        one.connection.socket.sendall(PING * 1000)
        assert one.closed() == 1008
        with robot(server, "b") as other:
            other.opened()


@pytest.mark.rule("L-16")
def test_who_waits_for_each_answer_is_never_too_fast():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, frame_rate=5) as server, robot(server) as one:
        one.opened()
        for i in range(1, 201):
            assert first(one.ask(X)) == i
            assert one.ask({"type": "ping"})["status"] == "pong"


@pytest.mark.rule("L-16")
def test_a_message_in_too_many_pieces_ends_the_session():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, frame_rate=10**6) as server, robot(server) as one:
        one.opened()
        one.connection.socket.sendall(START + PIECE * 5000)
        assert one.closed() == 1008
        assert "pieces" in one.reason
        assert get_json(server, "/api/v1/status")["sessions"] == 0


def test_large_messages_in_pieces_are_ordinary(server):
    with robot(server) as one:
        one.opened()
        frame = b"\x81\xa1x\xc6" + (2**20).to_bytes(4, "big") + bytes(2**20)
        for number in range(1, 4):
            one.connection.send([frame[at : at + 2**16] for at in range(0, len(frame), 2**16)])
            assert first(one.receive()) == number
