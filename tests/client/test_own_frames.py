"""Frames that the client reads and writes itself: the events of websockets' protocol, whatever comes, however cut."""

import secrets
import signal
import socket
import sys
import threading
import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client import InferenceClient, InferTimeout
from offboard_client.protocol import FrameWriter, WebSocket, parse_address
from offboard_client.wire import LARGE, Encoder, WireLimits
from scripted_server import ScriptedServer
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

#: Bytes of a message: small, so that some are too large.
MOST = 300


class Theirs:
    """What websockets' own protocol makes of the bytes."""

    def __init__(self):
        self.protocol = ClientProtocol(parse_uri("ws://h/"), max_size=MOST)
        self.protocol.send_request(self.protocol.connect())
        self.messages, self._parts, self._text = [], [], False
        self.server = accept(b"".join(self.protocol.data_to_send()), self.feed)

    def feed(self, data):
        self.protocol.receive_data(data) if data else self.protocol.receive_eof()
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._text = self._text if event.opcode is Opcode.CONT else event.opcode is Opcode.TEXT
                self._parts.append(bytes(event.data))
                if event.fin:
                    whole = b"".join(self._parts)
                    self.messages.append(whole.decode("utf-8", "replace") if self._text else whole)
                    self._parts = []

    def close(self):
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(1000)

    @property
    def seen(self):
        said = self.protocol.close_rcvd
        farewell = "" if said is None else f" ({f'{said.code} {said.reason}'.rstrip()})"
        return self.messages, self.protocol.state is State.OPEN, farewell, repr(self.protocol.parser_exc)

    def said(self):
        return b"".join(self.protocol.data_to_send())


class Ours:
    """What the client's WebSocket makes of them."""

    def __init__(self):
        limits = WireLimits(message_bytes=MOST)
        self.socket = WebSocket("ws://h/", {}, parse_address("h"), limits, lambda: 0.0)
        self.server = accept(self.socket.outgoing(), self.feed)

    def feed(self, data):
        rest = memoryview(data)
        while rest:  # as a socket does that fills less than there is room for
            room = self.socket.room()
            count = min(len(room), len(rest), 7)
            room[:count] = rest[:count]
            self.socket.received(count)
            rest = rest[count:]
        if not data:
            self.socket.received(0)

    def close(self):
        self.socket.close()

    @property
    def seen(self):
        messages = [m if isinstance(m, str) else bytes(m) for m in self.socket.messages]
        return messages, self.socket.open, self.socket.farewell, repr(self.socket._protocol.parser_exc)

    def said(self):
        return self.socket.outgoing()


class OursInBytes(Ours):
    """The same, given bytes, as asyncio's streams do."""

    def feed(self, data):
        self.socket.feed(data)


def accept(request, feed):
    server = ServerProtocol(max_size=None)
    server.receive_data(request)
    server.send_response(server.accept(server.events_received()[0]))
    feed(b"".join(server.data_to_send()))
    return server


def heard(end):
    """The frames that it has sent."""
    end.server.receive_data(end.said())
    found = [(frame.opcode, bytes(frame.data)) for frame in end.server.events_received()]
    end.server.data_to_send()
    return found


def framed(first, payload, form, mask):
    """A frame whose length is written in 1, 3 or 9 bytes, as far as it fits there, masked or not."""
    size = len(payload)
    form = max(form, 0 if size < 126 else 1 if size < 65536 else 2)
    length = (b"", b"\x7e", b"\x7f")[form] + size.to_bytes((1, 2, 8)[form], "big")
    return bytes([first, length[0] | (0x80 if mask else 0)]) + length[1:] + (b"mask" if mask else b"") + payload


good = st.sampled_from([0x81, 0x82, 0x82, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A])
payloads = st.one_of(st.binary(max_size=12), st.text(max_size=9).map(str.encode), st.integers(120, 320).map(bytes))
closes = st.sampled_from([b"", b"\x03\xe8", b"\x03\xf0busy: later", b"\x03\xe8\xff", b"\x00\x01", b"x"])
frames = st.one_of(
    st.builds(framed, good, payloads, st.just(0), st.just(False)),
    st.builds(framed, st.just(0x82), payloads, st.integers(0, 2), st.just(False)),
    st.builds(framed, st.just(0x88), closes, st.just(0), st.just(False)),
    st.builds(framed, st.integers(0, 255), payloads, st.integers(0, 2), st.booleans()),
    st.sampled_from([b"\x82\x7f" + b"\xff" * 8, b"\x82\x7e\x01\x2d", b"\x89\x7f" + bytes(8)]),
    st.binary(max_size=5),
)


def same(sent, cuts=(), leaves=None):
    """``leaves``: before which of the parts the client says goodbye."""
    steps = [sent[a:b] for a, b in pairwise(sorted({0, *cuts, len(sent)}))]
    for ours in (Ours(), OursInBytes()):
        theirs = Theirs()
        for number, step in enumerate([*steps, b""]):
            if number == leaves:
                ours.close()
                theirs.close()
            if step or number == len(steps):
                ours.feed(step)
                theirs.feed(step)
            seen, open_still, farewell, fault = ours.seen
            their, open_theirs, their_farewell, their_fault = theirs.seen
            assert (seen, farewell, fault) == (their, their_farewell, their_fault)
            assert open_still == (open_theirs and number < len(steps))
            assert heard(ours) == heard(theirs)


@pytest.mark.rule("L-22", "L-23")
@given(st.data(), st.lists(frames, max_size=12).map(b"".join))
def test_the_same_bytes_are_the_same_events_in_every_split(data, sent):
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8) | st.just(range(len(sent))))
    same(sent, cuts, data.draw(st.none() | st.integers(0, len(cuts) + 1)))


GOOD, PING = b"\x82\x03abc", b"\x89\x02hi"
STREAMS = {
    "whole": GOOD + b"\x81\x04text" + GOOD,
    "long lengths": b"\x82\x7e\x00\x03abc" + b"\x82\x7f" + bytes(7) + b"\x03abc" + GOOD,
    "pings between": PING + GOOD + PING + GOOD + b"\x8a\x00" + GOOD,
    "fragments": b"\x02\x01a" + PING + b"\x00\x01b" + b"\x80\x01c" + GOOD,
    "text in fragments": b"\x01\x01\xc3" + b"\x80\x01\xa9" + GOOD,
    "no UTF-8": b"\x81\x02\xff\xfe" + GOOD,
    "a message in a message": b"\x02\x01a" + GOOD + GOOD,
    "a fragment of nothing": b"\x80\x01a" + GOOD,
    **{f"reserved bit {bit}": bytes([0x82 | bit]) + b"\x03abc" + GOOD for bit in (0x10, 0x20, 0x40)},
    "an opcode that is none": b"\x83\x00" + GOOD,
    "masked": b"\x82\x83keyyabc" + GOOD,
    "too large": b"\x82\x7e\x01\x2d" + bytes(301) + GOOD,
    "just not too large": b"\x82\x7e\x01\x2c" + bytes(300) + GOOD,
    "too large in fragments": b"\x02\x7e\x01\x2c" + bytes(300) + b"\x80\x01a" + GOOD,
    "absurdly large": b"\x82\x7f" + b"\xff" * 8 + GOOD,
    "a large ping": b"\x89\x7e\x00\x7e" + bytes(126) + GOOD,
    "a ping in fragments": b"\x09\x01a" + GOOD,
    "a goodbye": GOOD + b"\x88\x04\x03\xf0ab" + GOOD,
    "a goodbye of one byte": b"\x88\x01\x03" + GOOD,
    "a goodbye that is no UTF-8": b"\x88\x03\x03\xe8\xff" + GOOD,
    "a goodbye in a message": b"\x02\x01a" + b"\x88\x00" + GOOD,
    "cut short": GOOD + b"\x82\x05ab",
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_hostile_bytes_are_the_same_events_in_every_split(name):
    sent = STREAMS[name]
    same(sent, range(len(sent)))
    for cut in range(len(sent)):
        same(sent, [cut])
        same(sent, [cut], leaves=1)


@pytest.mark.parametrize("step", [1000, 65535, 65536, 10**6])
def test_messages_larger_than_the_buffer_come_whole_and_leave_none_behind(step):
    socket = WebSocket("ws://h/", {}, parse_address("h"), WireLimits(), lambda: 0.0)
    accept(socket.outgoing(), socket.feed)
    payloads = [secrets.token_bytes(size) for size in (1, 65535, 65536, 300_000, 2, 70_000)]
    sent = b"".join(framed(0x82, payload, 2, False) for payload in payloads)
    for at in range(0, len(sent), step):
        socket.feed(sent[at : at + step])
    assert list(socket.messages) == payloads
    assert socket.between
    assert len(socket.room()) == 65536


def test_no_memory_is_spent_on_what_a_header_claims():
    socket = WebSocket("ws://h/", {}, parse_address("h"), WireLimits(), lambda: 0.0)
    accept(socket.outgoing(), socket.feed)
    tracemalloc.start()
    try:
        socket.feed(b"\x82\x7f" + (32 * 2**20).to_bytes(8, "big") + bytes(70_000))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert not socket.between
    assert not socket.messages


def test_a_flood_in_one_read_is_not_read_to_its_end():
    socket = WebSocket("ws://h/", {}, parse_address("h"), WireLimits(), lambda: 0.0)
    accept(socket.outgoing(), socket.feed)
    socket.feed(b"\x89\x00" * 30_000)
    assert socket.flooded
    assert len(socket._protocol.data_to_send()) < 300


# -- writing ---------------------------------------------------------------------------------------------
sizes = st.integers(0, 300) | st.integers(LARGE - 9, LARGE + 9) | st.integers(65530, 65545)


@given(st.lists(sizes, min_size=1, max_size=5))
def test_a_frame_in_turns_is_the_message(lengths):
    pieces = [secrets.token_bytes(length) for length in lengths]
    writer, server = FrameWriter(), ServerProtocol(max_size=None, state=State.OPEN)
    for _ in range(2):
        message = writer.frame(pieces)
        assert message.size == sum(lengths)
        for turn in message.turns:
            server.receive_data(b"".join(turn))
        (frame,) = server.events_received()
        assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.BINARY, True, b"".join(pieces))


def test_each_frame_has_a_key_of_its_own():
    writer, keys = FrameWriter(), set()
    for _ in range(600):
        (turn,) = writer.frame([b"1"]).turns
        keys.add(b"".join(turn)[2:6])
    assert len(keys) > 590


DTYPES = ["?", "u1", ">i8", "<f4", ">f4", "<f2", "<f8"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pieces_of_a_message_are_its_bytes(dtype):
    large, huge = ((np.arange(size) % 1000).astype(dtype) for size in (20_000, 70_000))
    small, encoder = huge[:10], Encoder()
    for value in (
        {"a": large, "b": {"c": [huge, small, large]}, "d": "text", "e": large[::2], "f": huge.reshape(7, -1).T},
        {"a": small, "b": 1},
        [huge],
        huge[:0],
    ):
        pieces = encoder.pieces(value)
        with encoder.encode(value) as whole:
            assert b"".join(pieces) == whole == encoder.whole(value)
    own = [piece for piece in encoder.pieces({"a": huge}) if isinstance(piece, memoryview)]
    assert np.shares_memory(np.frombuffer(own[0], np.uint8), huge)


# -- the socket ------------------------------------------------------------------------------------------
class Counting:
    """A socket whose calls are counted."""

    def __init__(self, raw):
        self.raw, self.calls = raw, Counter()

    def __getattr__(self, name):
        self.calls[name] += 1
        return getattr(self.raw, name)


@pytest.mark.skipif(
    not hasattr(socket, "MSG_DONTWAIT") or sys.platform != "linux", reason="elsewhere waits are Python's"
)
def test_an_exchange_is_one_send_and_one_receive():
    def visit(peer):
        peer.ready()
        for _ in range(30):
            peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit) as server, InferenceClient("127.0.0.1", server.port) as client:
        session = client.new_session()
        session.infer({})
        counting = session._connection._channel.raw = Counting(session._connection._channel.raw)
        for _ in range(29):
            session.infer({"q": np.zeros(7)})
        assert counting.calls == {"send": 29, "recv_into": 29}
        session.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals")
def test_signals_that_never_end_do_not_extend_an_exchange(monkeypatch):
    """Each of them begins the kernel's wait anew, and a program may have one that comes all the time."""
    monkeypatch.setattr("offboard_client.session.blocking._KEEP_EVERY_S", 0.02)
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are the main thread's")

    def visit(peer):
        peer.ready()
        peer.receive()
        peer.hold()

    came = Counter()
    before = signal.signal(signal.SIGALRM, lambda *_: came.update(["signal"]))
    try:
        with ScriptedServer(visit) as server, InferenceClient("127.0.0.1", server.port, infer_timeout=0.5) as client:
            session = client.new_session()
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            with pytest.raises(InferTimeout):
                session.infer({})
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came["signal"] > 5
