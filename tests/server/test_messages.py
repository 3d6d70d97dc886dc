"""Messages that the server cuts out itself: what websockets' protocol makes of the same bytes, however they are cut."""

import os
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_core.server import KEPT, MessageReader
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

#: Bytes of a message here, so that some are too large.
MOST = 3 * KEPT


def accepted():
    """A server's protocol after its handshake."""
    client, server = ClientProtocol(parse_uri("ws://h/")), ServerProtocol(max_size=MOST)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    server.send_response(server.accept(server.events_received()[0]))
    server.data_to_send()
    return server


class Theirs:
    """What websockets' protocol alone makes of it."""

    def __init__(self):
        self.protocol, self.events = accepted(), []

    def feed(self, data):
        self.protocol.receive_data(data)
        self.take()

    def take(self):
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            self.events.append((event.opcode, event.fin, bytes(event.data)))

    @property
    def seen(self):
        protocol = self.protocol
        said = b"".join(bytes(part) for part in protocol.data_to_send())
        return self.events, said, repr(protocol.parser_exc), repr(protocol.close_rcvd), protocol.state


class Ours(Theirs):
    """With the reader before it."""

    def __init__(self):
        super().__init__()
        self.counted = 0
        self.reader = MessageReader(MOST, self.count, self.message, self.other)

    def feed(self, data):
        while data:
            room = self.reader.get_buffer(65536)
            some = min(len(room), len(data))
            assert some
            room[:some] = data[:some]
            self.reader.buffer_updated(some)
            data = data[some:]

    def count(self):
        self.counted += 1
        return True

    def message(self, data):
        assert not isinstance(data, memoryview) or data.readonly
        self.events.append((Opcode.BINARY, True, bytes(data)))
        return True

    def other(self, data):
        self.protocol.receive_data(data)
        self.take()
        return self.protocol.parser_exc is None and self.protocol.close_rcvd is None


def frame(first, payload, key=b"\x01\x02\x03\x04", masked=0x80, form=None):
    """A client's frame; ``form``: the length in more bytes than it takes."""
    size = len(payload)
    form = form or (0 if size < 126 else 2 if size < 65536 else 8)
    length = bytes([masked | size]) if not form else bytes([masked | (126 if form == 2 else 127)])
    length += struct.pack("!H" if form == 2 else "!Q", size) if form else b""
    if not masked:
        return bytes([first]) + length + payload
    repeated = (key * (size // 4 + 1))[:size]
    return bytes([first]) + length + key + bytes(a ^ b for a, b in zip(payload, repeated, strict=True))


SIZES = st.sampled_from(
    [0, 1, 7, 8, 125, 126, 127, 300, KEPT - 20, KEPT - 14, KEPT - 8, KEPT, KEPT + 9, MOST, MOST + 1]
)
KEYS = st.binary(min_size=4, max_size=4)
CONTROLS = [0x88, 0x89, 0x8A]


@st.composite
def frames(draw):
    kind = draw(st.integers(0, 19))
    key = draw(KEYS)
    if kind < 10:
        return frame(0x82, os.urandom(draw(SIZES)), key)
    if kind < 14:
        first = draw(st.sampled_from([0x81, 0x01, 0x02, 0x00, 0x80]))
        return frame(first, draw(st.binary(max_size=200)), key)
    if kind < 17:
        return frame(
            draw(st.sampled_from(CONTROLS)), draw(st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8bye", b"x"])), key
        )
    if kind == 17:
        return frame(draw(st.integers(0, 255)), draw(st.binary(max_size=130)), key, draw(st.sampled_from([0, 0x80])))
    if kind == 18:
        return frame(0x82, draw(st.binary(max_size=50)), key, form=draw(st.sampled_from([2, 8])))
    return draw(st.binary(max_size=20))


def cuts(data, sizes):
    at = 0
    while at < len(data):
        for size in sizes or [len(data)]:
            if at < len(data):
                yield data[at : at + size]
                at += size


@given(st.lists(frames(), max_size=8), st.lists(st.sampled_from([1, 2, 5, 13, 100, KEPT - 1, KEPT, 65536]), max_size=6))
def test_the_same_bytes_are_the_same_events_however_they_are_cut(stream, sizes):
    data = b"".join(stream)
    theirs, ours = Theirs(), Ours()
    theirs.feed(data)
    for piece in cuts(data, sizes):
        ours.feed(piece)
    assert ours.seen == theirs.seen


HOSTILE = {
    "an unmasked message": frame(0x82, b"abc", masked=0),
    "reserved bits": frame(0xC2, b"abc"),
    "an opcode that is none": frame(0x83, b"abc"),
    "a message within a message in pieces": frame(0x02, b"a") + frame(0x82, b"b"),
    "a message after one in pieces": frame(0x02, b"a") + frame(0x80, b"b") + frame(0x82, b"c"),
    "a ping within a message in pieces": frame(0x02, b"a") + frame(0x89, b"p") + frame(0x80, b"b") + frame(0x82, b"c"),
    "what looks like a message within a text": frame(0x81, frame(0x82, b"a", b"bcde", form=2), bytes(4)),
    "the beginning of a header without a mask": b"\x82~",
    "the beginning of a header with an opcode that is none": b"\x8b\xfe",
    "a piece of nothing": frame(0x80, b"b") + frame(0x82, b"c"),
    "too large": frame(0x82, bytes(MOST + 1)),
    "a length with its highest bit": bytes([0x82, 0xFF]) + b"\xff" * 8 + b"\0\0\0\0" + b"rest",
    "a control frame in pieces": frame(0x09, b"p"),
    "a control frame that is too long": frame(0x89, bytes(126)),
    "a message after the goodbye": frame(0x82, b"a") + frame(0x88, b"\x03\xe8") + frame(0x82, b"b"),
    "a goodbye of one byte": frame(0x88, b"\x03"),
    "a goodbye with a code of nobody's": frame(0x88, b"\x03\xe7"),
    "a goodbye that is not UTF-8": frame(0x88, b"\x03\xe8\xff"),
    "lengths in more bytes than they take": frame(0x82, b"a", form=2) + frame(0x82, b"b", form=8),
    "two at once, and half": frame(0x82, b"a") + frame(0x82, b"b") + frame(0x82, b"cc")[:-1],
}


@pytest.mark.parametrize("stream", HOSTILE.values(), ids=HOSTILE)
def test_hostile_streams_are_what_they_are_to_websockets_in_every_split(stream):
    theirs = Theirs()
    theirs.feed(stream)
    whole = theirs.seen
    splits = range(len(stream)) if len(stream) < 1000 else [0, 1, 2, 5, 13, 14, 15, KEPT - 1, KEPT, KEPT + 1]
    for at in splits:
        ours = Ours()
        ours.feed(stream[:at])
        ours.feed(stream[at:])
        assert ours.seen == whole
    bytewise = Ours()
    for byte in stream if len(stream) < 1000 else ():
        bytewise.feed(bytes([byte]))
    assert len(stream) >= 1000 or bytewise.seen == whole


def test_each_frame_is_counted_once_before_it_is_looked_into():
    stream = frame(0x82, b"a") + frame(0x89, b"") + frame(0x82, bytes(2 * KEPT)) + frame(0x01, b"t") + frame(0x80, b"")
    ours = Ours()
    for byte in stream[:40]:
        ours.feed(bytes([byte]))
    ours.feed(stream[40:])
    assert ours.counted == 5


def test_nothing_is_read_after_one_frame_too_many_or_once_a_message_was_the_last():
    for counts, takes in ((False, True), (True, False)):
        taken = []
        reader = MessageReader(MOST, lambda: counts, lambda data: (taken.append(data), takes)[1], taken.append)  # noqa: B023
        data = frame(0x82, b"a") + frame(0x82, b"b") + frame(0x89, b"")
        for _ in range(3):
            room = reader.get_buffer(100)
            room[: len(data)] = data
            reader.buffer_updated(len(data))
        assert taken == ([] if not counts else [b"a"])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much is resident")
def test_what_was_only_announced_takes_no_memory():
    """Memory is had, and not touched: the kernel has given no page for it."""

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, readers = resident(), []
    for _ in range(20):
        reader = MessageReader(2**30, lambda: True, lambda data: True, lambda data: True)
        head = bytes([0x82, 0xFF]) + struct.pack("!Q", 2**25) + b"keys" + b"first bytes"
        reader.get_buffer(100)[: len(head)] = head
        reader.buffer_updated(len(head))
        assert len(reader.get_buffer(100)) == 2**25 - len(b"first bytes")
        readers.append(reader)
    assert resident() - before < 2**25, "twenty times as much was announced"


def test_a_large_message_lies_in_memory_of_its_own():
    ours = []
    reader = MessageReader(MOST, lambda: True, lambda data: (ours.append(data), True)[1], lambda data: True)
    wanted = [os.urandom(2 * KEPT + extra) for extra in range(9)]
    for message in wanted:
        data = frame(0x82, message, os.urandom(4))
        while data:
            room = reader.get_buffer(1000)
            some = min(len(room), len(data), 1000)
            room[:some] = data[:some]
            reader.buffer_updated(some)
            data = data[some:]
    assert [bytes(each) for each in ours] == wanted, "none was written over by the next"
    assert not any(np.frombuffer(each, np.uint8).flags.writeable for each in ours)
