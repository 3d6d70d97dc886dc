"""Answers that the model's thread writes to a robot's connection, beside the event loop that owns it."""

import contextlib
import math
import os
import socket
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pkgutil import resolve_name

import numpy as np
import pytest
from offboard_client import wire
from offboard_core import Chunk
from offboard_core.server import Guarded, InferenceServer, Voice, voice_of
from puppets import PATIENCE, Door, Puppet, source, until
from robots import robot
from waits import reached

pytestmark = pytest.mark.timeout(2 * PATIENCE)
OURS = "layout=columns"


def summed(episode, inputs):
    """As many rows as it is told, each the checksum of what it saw."""
    seen = zlib.crc32(np.ascontiguousarray(inputs["x"]).tobytes())
    return Chunk(np.full((int(inputs["rows"]), 1), seen, np.float64))


def asked(number, rows=1, size=5):
    return {"x": np.full(size, number, np.float64), "rows": rows, "offboard.seq": number}


def is_answer(reply, observation):
    (column,) = {float(value) for value in reply["result"]["columns"]["action"][:, 0]}
    return (reply["offboard.seq"], column, len(reply["result"]["columns"]["action"])) == (
        observation["offboard.seq"], float(zlib.crc32(observation["x"].tobytes())), observation["rows"],
    )  # fmt: skip


@pytest.fixture
def said(monkeypatch):
    """The frames that threads sent."""
    frames, send = [], Voice.send

    def noting(self, frame):
        frames.append(frame)  # before it is there: whoever has it may look here at once
        sent = send(self, frame)
        if not sent:
            frames.remove(frame)
        return sent

    monkeypatch.setattr(Voice, "send", noting)
    # However long a busy machine takes for it.
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", math.inf)
    return frames


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request, monkeypatch):
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)


def model(**more):
    return {"only": source({"a": lambda: Puppet(summed, **more)})}


@pytest.mark.usefixtures("loop")
def test_an_answer_is_written_by_the_thread_that_made_it(said):
    with InferenceServer(model(), port=0) as server, robot(server, query=OURS) as one:
        one.opened()
        for number in range(20):
            assert is_answer(one.ask(asked(number)), asked(number))
    assert len(said) == 20


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("observation", [asked(1, rows=4000), b"\xc1", asked(1, rows=-1)])
def test_what_is_long_or_an_error_is_written_by_the_event_loop(said, observation):
    with InferenceServer(model(), port=0) as server, robot(server, query=OURS) as one:
        one.opened()
        reply = one.ask(observation)
        assert said == []
        assert "code" in reply or is_answer(reply, observation)
        assert is_answer(one.ask(asked(2)), asked(2))
    assert len(said) == 1


@pytest.mark.usefixtures("loop")
@pytest.mark.rule("L-5")
def test_text_is_written_by_the_event_loop(said):
    with InferenceServer(model(), port=0) as server, robot(server, query=OURS) as one:
        one.opened()
        assert one.ask_text({"x": [1.0], "rows": 1, "offboard.seq": 3})["offboard.seq"] == 3
    assert said == []


@contextlib.contextmanager
def waiting():
    """A robot whose first observation is in the policy, until the door opens."""
    with Door() as door, InferenceServer(model(doors={0: door}), port=0) as server, robot(server, query=OURS) as one:
        one.opened()
        one.send(asked(1))
        assert door.entered.wait(PATIENCE)
        yield one, door


@pytest.mark.usefixtures("loop")
def test_what_the_event_loop_writes_meanwhile_takes_the_right_back(said):
    with waiting() as (one, door):
        assert one.connection.ping().wait(PATIENCE)
        door.open()
        assert is_answer(one.receive(), asked(1))
        assert said == []
        assert is_answer(one.ask(asked(2)), asked(2))
    assert len(said) == 1


@pytest.mark.usefixtures("loop")
@pytest.mark.rule("C-4")
def test_what_comes_before_the_answer_is_busy_and_after_it_is_not(said):
    with waiting() as (one, door):
        one.send(asked(2))
        one.send(asked(3))
        assert one.connection.ping().wait(PATIENCE)  # they have been read
        door.open()
        replies = [one.receive() for _ in range(3)]
        assert is_answer(replies[0], asked(1))
        assert [(reply["code"], reply["offboard.seq"]) for reply in replies[1:]] == [("busy", 2), ("busy", 3)]
        for number in range(4, 40):
            assert is_answer(one.ask(asked(number)), asked(number))
    assert len(said) == 36


@pytest.mark.usefixtures("loop")
def test_a_robot_that_goes_in_mid_inference_leaves_nothing_behind():
    with (
        Door() as door,
        InferenceServer(model(doors={1: door}), port=0) as server,
        robot(server, query=OURS) as other,
    ):
        other.opened()
        assert is_answer(other.ask(asked(1)), asked(1))
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        with robot(server, query=OURS) as one:
            one.opened()
            one.send(asked(2))
            assert door.entered.wait(PATIENCE)
            one.vanish()
        if before:
            until(lambda: len(os.listdir("/proc/self/fd")) <= before, "its descriptors are closed")
        # A connection that has the number of the one that is gone is nobody's whom an old answer reaches.
        with robot(server, query=OURS) as new:
            door.open()
            new.opened()
            for number in range(3, 9):
                assert is_answer(new.ask(asked(number)), asked(number))
                assert is_answer(other.ask(asked(number)), asked(number))


@pytest.mark.usefixtures("loop", "said")
def test_an_answer_that_was_begun_is_ended_for_a_robot_that_has_nothing_more_to_say(monkeypatch):
    header, begun = resolve_name("offboard_core.server.voice:header"), threading.Event()

    def begin(voice, frame):
        """As where the kernel takes no more, and the event loop has not been told yet."""
        data = header(0x82, len(frame)) + frame
        voice._rest = data[voice._socket.send(data[:5]) :]
        begun.set()
        return True

    with InferenceServer(model(), port=0) as server, robot(server, query=OURS) as one:
        one.opened()
        assert is_answer(one.ask(asked(1)), asked(1))
        monkeypatch.setattr(Voice, "send", begin)
        one.send(asked(2))
        reached(begun)
        one.connection.socket.shutdown(socket.SHUT_WR)
        assert is_answer(one.receive(), asked(2))


@pytest.mark.usefixtures("loop")
def test_many_robots_with_pings_texts_and_long_answers_between_are_each_told_their_own(said):
    def play(seed):
        random = np.random.default_rng(seed)
        with robot(server, query=OURS) as one:
            one.opened()
            for number in range(60):
                if random.random() < 0.3:
                    one.connection.ping()
                observation = asked(number, int(random.choice((1, 50, 1500, 4000))), int(random.integers(1, 3000)))
                one.send(observation)
                if random.random() < 0.3:
                    one.connection.ping()
                assert is_answer(one.receive(), observation)
                if random.random() < 0.1:
                    one.send(wire.encode({"type": "ping"}))
                    assert "model_ms" in one.receive()
        return True

    with InferenceServer(model(), port=0) as server, ThreadPoolExecutor(6) as pool:
        assert all(pool.map(play, range(6)))
    assert said


@pytest.mark.usefixtures("loop")
def test_a_server_that_ends_waits_for_nobody_who_has_the_answer(said, monkeypatch):
    monkeypatch.setattr("offboard_core.engine.loans.SOON", 4 * PATIENCE)  # nor for what else is to be done about it
    with InferenceServer(model(), port=0, grace=4 * PATIENCE) as server, robot(server, query=OURS) as one:
        one.opened()
        assert is_answer(one.ask(asked(1)), asked(1))
        server.stop()
        assert one.closed() == wire.CLOSE_GOING_AWAY
    assert len(said) == 1


# -- the voice itself ----------------------------------------------------------------------------------------------
class Transport:
    """Of one end of a pair; what is written there is sent at once."""

    def __init__(self, own):
        self.own, self.waits, self.tls = own, 0, None

    def get_extra_info(self, name):
        return {"socket": self.own, "sslcontext": self.tls}.get(name)

    def get_write_buffer_size(self):
        return self.waits

    def is_closing(self):
        return False

    def write(self, data):
        self.own.setblocking(True)
        self.own.sendall(data)


class Loop:
    """What is to be done on it."""

    def __init__(self):
        self.due = []

    def call_soon_threadsafe(self, function):
        self.due.append(function)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport, loop = Transport(ours), Loop()
        voice = voice_of(transport, loop, 0)
        assert voice is not None
        yield voice, transport, loop, theirs
        voice.close()


def read(theirs, size):
    theirs.settimeout(PATIENCE)
    found = b""
    while len(found) < size:
        found += theirs.recv(size - len(found))
    return found


def test_what_the_kernel_takes_only_a_part_of_is_sent_whole_before_anything_else(pair, monkeypatch):
    voice, transport, loop, theirs = pair
    monkeypatch.setattr("offboard_core.server.voice.MOST", 2**24)
    frame, more = os.urandom(2**22), b"\x89\0"
    transport.own.setblocking(False)
    assert voice.lend().say(frame)
    assert voice._rest
    assert voice.lend() is None, "what is begun comes first"
    guarded = Guarded(transport, voice)
    writing = threading.Thread(target=guarded.write, args=(more,))
    writing.start()
    head = b"\x82\x7f" + len(frame).to_bytes(8, "big")
    assert read(theirs, len(head) + len(frame) + len(more)) == head + frame + more
    writing.join(PATIENCE)
    for function in loop.due:
        function()
    assert voice._rest == b""


@pytest.mark.parametrize("end", ["recall", "quiet", "close"])
def test_what_was_taken_back_is_not_said(pair, end):
    voice, _, _, theirs = pair
    loan = voice.lend()
    getattr(voice, end)()
    assert not loan.say(b"late")
    assert not voice.recall()
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_one_answer_is_said_once_and_an_older_right_is_none(pair):
    voice, _, _, theirs = pair
    old = voice.lend()
    assert old.say(b"1")
    assert old.say(b"2"), "as it was"
    older, new = voice.lend(), voice.lend()
    assert not older.say(b"3")
    assert voice.recall() is False
    assert not new.say(b"3")
    assert old.say(b"4")
    assert read(theirs, 3) == b"\x82\x011"
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_nothing_is_lent_while_something_waits_to_be_sent(pair):
    voice, transport, _, _ = pair
    transport.waits = 1
    assert voice.lend() is None
    assert not voice.recall()


def test_who_reads_nothing_is_for_the_event_loop(pair):
    voice, transport, _, _ = pair
    transport.own.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while transport.own.send(bytes(65536)):
            pass
    assert not voice.lend().say(b"x")
    assert voice._rest == b""


def test_who_reads_nothing_is_not_waited_for_whatever_a_library_has_set(pair):
    _, transport, loop, _ = pair
    socket.setdefaulttimeout(PATIENCE)
    try:
        voice = voice_of(transport, loop, 0)
    finally:
        socket.setdefaulttimeout(None)
    assert voice._socket.gettimeout() == 0.0
    voice.close()


def test_what_is_left_of_an_answer_is_nobodys_when_the_connection_is_gone(pair, monkeypatch):
    voice, transport, loop, _ = pair
    monkeypatch.setattr("offboard_core.server.voice.MOST", 2**24)
    transport.own.setblocking(False)
    assert voice.lend().say(os.urandom(2**22))
    voice.close()
    transport.write = None  # uvloop's raises then
    for function in loop.due:
        function()


def test_there_is_none_with_tls_nor_without_descriptors(pair, monkeypatch):
    _, transport, loop, _ = pair

    def none_left(fd):
        raise OSError(24, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", none_left)
        assert voice_of(transport, loop, 0) is None
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert voice_of(transport, loop, 2**40) is None, "others may need it"
    assert not before or len(os.listdir("/proc/self/fd")) == before
    transport.tls = object()
    assert voice_of(transport, loop, 0) is None


def test_a_thread_in_the_middle_of_saying_it_is_waited_for(pair, monkeypatch):
    voice, _, _, theirs = pair
    entered, go_on, send = threading.Event(), threading.Event(), voice.send

    def slowly(frame):
        entered.set()
        assert go_on.wait(PATIENCE)
        return send(frame)

    monkeypatch.setattr(voice, "send", slowly)
    loan, found = voice.lend(), []
    saying = threading.Thread(target=lambda: found.append(loan.say(b"1")))
    saying.start()
    assert entered.wait(PATIENCE)
    recalling = threading.Thread(target=lambda: found.append(voice.recall()))
    recalling.start()
    go_on.set()
    saying.join(PATIENCE)
    recalling.join(PATIENCE)
    assert found == [True, True]
    assert read(theirs, 3) == b"\x82\x011"
