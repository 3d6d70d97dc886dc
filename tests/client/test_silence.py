"""A server that falls silent in the middle of an exchange, while TCP stays up, is noticed within seconds."""

import threading

import numpy as np
import pytest
from offboard_client import ConnectionLost, InferTimeout
from offboard_client.protocol import Deadline, Passed, Pulse
from offboard_core import InferenceServer
from relay import Relay
from scripted_server import META, OFFBOARD, PATIENCE_S, ScriptedServer, good, patient
from waits import reached, until


def test_a_pulse_pings_and_then_gives_up():
    now = [100.0]
    pulse = Pulse(lambda: now[0], 8.0)
    pulse.begin(0)
    beats = []
    while True:
        assert 0 < pulse.wait() <= 2.0
        now[0] += pulse.wait()
        if pulse.silent():
            break
        beats.append(now[0])
    assert beats == [102.0, 104.0, 106.0]
    assert now == [108.0]


def test_any_byte_is_a_sign_of_life():
    now = [100.0]
    pulse = Pulse(lambda: now[0], 8.0)
    pulse.begin(0)
    for _ in range(10):
        now[0] += 7.0
        assert not pulse.silent()
        pulse.heard()
        assert pulse.wait() == 2.0


def test_a_large_observation_has_time_to_arrive():
    now = [100.0]
    pulse = Pulse(lambda: now[0], 8.0)
    pulse.begin(10 * 2**17)
    assert pulse.wait() == 12.0
    for _ in range(3):
        now[0] += pulse.wait()
        assert not pulse.silent()
    assert now == [116.0]
    pulse.heard()  # of a ping that was on its way before
    for silent in (False, False, False, True):
        assert pulse.wait() == 2.0
        now[0] += 2.0
        assert pulse.silent() is silent


def test_time_in_which_nobody_looked_is_no_silence():
    """As of a process that was stopped, or kept from the processor: it has not asked for a sign of life meanwhile."""
    now = [100.0]
    pulse = Pulse(lambda: now[0], 8.0)
    pulse.begin(0)
    for late, silent in [(0.0, False), (60.0, False), (0.0, False), (0.0, True)]:
        now[0] += pulse.wait() + late
        assert pulse.silent() is silent
    assert now == [168.0]


def test_a_deadline_has_parts_that_end_no_later():
    now = [5.0]
    whole = Deadline(lambda: now[0], 10.0)
    assert (whole.left(), whole.left(3.0), whole.within(4.0).left(), whole.within(40.0).left()) == (10, 3, 4, 10)
    now[0] = 15.0
    assert whole.rest() == 0
    for late in (whole, whole.within(1.0)):
        with pytest.raises(Passed):
            late.left()


@pytest.mark.rule("L-21")
def test_a_server_that_does_not_even_answer_pings_is_lost(clients):
    def hung(peer):
        peer.ready(OFFBOARD)
        peer.receive()
        peer.hold()

    def second(peer):
        peer.ready(OFFBOARD)
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(hung, second) as server:
        session = clients.session("127.0.0.1", server.port, silence_timeout=1.5)
        with pytest.raises(
            ConnectionLost, match=r"^127\.0\.0\.1:\d+ has sent nothing for 1\.5 s, not even an answer to a ping"
        ):
            clients.wait(session.infer({}))
        patient(session)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("L-21")
def test_a_control_frame_is_waited_for_no_longer(clients):
    def hung(peer):
        peer.ready(OFFBOARD)
        peer.receive()
        peer.hold()

    with ScriptedServer(hung) as server:
        session = clients.session("127.0.0.1", server.port, silence_timeout=0.3)
        with pytest.raises(ConnectionLost, match="not even an answer to a ping"):
            clients.wait(session.reset())


def test_a_server_that_stops_reading_is_lost_as_well(clients):
    def deaf(peer):
        peer.ready(OFFBOARD)
        peer.hold()

    with ScriptedServer(deaf) as server:
        session = clients.session("127.0.0.1", server.port, silence_timeout=0.1, infer_timeout=20)
        observation = {"image": np.zeros(2**17, np.uint8)}
        with pytest.raises(ConnectionLost, match="not even an answer to a ping"):
            clients.wait(session.infer(observation))


@pytest.mark.rule("L-4", "L-21")
def test_a_server_that_answers_pings_may_take_its_time(clients):
    def slow(peer):
        peer.ready(OFFBOARD)
        peer.receive()
        pulse = session._connection.protocol.pulse
        for _ in range(3 * beats):
            clock.slept.append(1.1 * silence / beats)
            peer.wait_for_pings(1)
            until(lambda: pulse._heard == clock.now(), "its answer is heard")
        peer.send({"result": [], "offboard.seq": peer.seq})
        peer.wait_for_close()

    clock, silence, beats = clients.clock(stands=True), 0.4, 4
    with ScriptedServer(slow) as server:
        session = clients.session("127.0.0.1", server.port, silence_timeout=silence, clock=clock)
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("L-21")
def test_a_foreign_server_may_infer_where_it_would_answer_pings(clients):
    def busy(peer):
        peer.ready(META)
        peer.receive()
        peer.hold()

    with ScriptedServer(busy, good) as server:
        session = clients.session("127.0.0.1", server.port, silence_timeout=0.1, infer_timeout=1.5)
        with pytest.raises(InferTimeout):
            clients.wait(session.infer({}))
        assert server.peers[0].pings == 0
        patient(session)
        clients.wait(session.infer({}))
        clients.wait(session.close())


@pytest.fixture(scope="module")
def thinking():
    """A server of ours whose model thinks until it is told to answer."""
    asked, answer = threading.Event(), threading.Event()

    def policy(observation):
        asked.set()
        answer.wait(PATIENCE_S)
        return np.zeros((2, 7))

    with InferenceServer({"m": lambda: policy}, port=0, fps=10) as server:
        yield server, asked, answer


@pytest.mark.rule("L-4", "L-21")
def test_our_server_answers_pings_while_it_infers_and_a_relay_that_stops_is_noticed(clients, thinking):
    server, asked, answer = thinking
    asked.clear()
    answer.clear()
    over, clock, silence, beats = threading.Event(), clients.clock(stands=True), 0.4, 4

    def think():
        reached(asked)
        pulse = session._connection.protocol.pulse
        for _ in range(3 * beats):
            clock.slept.append(1.1 * silence / beats)
            until(lambda: pulse._heard == clock.now(), "a ping was answered")
        answer.set()
        reached(relay.stalled)
        while not over.wait(0.01):
            clock.slept.append(1.1 * silence / beats)

    with Relay(server.port) as relay:
        session = clients.session("127.0.0.1", relay.port, silence_timeout=silence, clock=clock)
        thread = threading.Thread(target=think)
        thread.start()
        assert len(clients.wait(session.infer({"a": 1.0}))) == 2
        relay.stalled.set()
        with pytest.raises(ConnectionLost, match="not even an answer to a ping"):
            clients.wait(session.infer({"a": 1.0}))
        over.set()
        thread.join()
