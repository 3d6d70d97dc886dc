"""A server's WebSocket from a raw socket, after Autobahn's cases: frames, pieces, pings, UTF-8, close codes, limits."""

import os
import ssl
import struct
import sys

import numpy as np
import pytest
from offboard_client import wire
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import first, robot

X = wire.encode({"x": np.zeros(3)})
KEY = b"\x17\x2a\x00\xff"


def frame(first_byte, payload=b"", masked=0x80, size=None):
    """A client's frame; ``size``: what its header says, where that is not the truth."""
    size = len(payload) if size is None else size
    length = (
        bytes([masked | size]) if size < 126 else bytes([masked | 126]) + struct.pack("!H", size) if size < 65536
        else bytes([masked | 127]) + struct.pack("!Q", size)
    )  # fmt: skip
    if not masked:
        return bytes([first_byte]) + length + payload
    keys = (KEY * (len(payload) // 4 + 1))[: len(payload)]
    return bytes([first_byte]) + length + KEY + bytes(a ^ b for a, b in zip(payload, keys, strict=True))


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def joins(request, certificate):
    """Opens a session with a server, on either event loop."""
    yield from serve(request.param, certificate)


@pytest.fixture(scope="module", params=["uvloop", "asyncio", "TLS"])
def joins_too(request, certificate):
    """With TLS, too."""
    yield from serve(request.param, certificate)


def serve(how, certificate):
    cert, key = certificate
    files = {"ssl_certfile": cert, "ssl_keyfile": key} if how == "TLS" else {}
    trusted = {"ssl": ssl.create_default_context(cafile=cert)} if files else {}
    with pytest.MonkeyPatch.context() as patch:
        if how == "asyncio":
            patch.setitem(sys.modules, "uvloop", None)
        with InferenceServer({"only": source({"a": Puppet})}, port=0, **files) as server:
            yield lambda: robot(server, **trusted)


ANSWERED = {
    "in one piece": [frame(0x82, X)],
    "byte by byte": [bytes([byte]) for byte in frame(0x82, X)],
    "in pieces": [frame(0x02, X[:3]), frame(0x00, X[3:9]), frame(0x80, X[9:])],
    "in pieces, of which some are empty": [frame(0x02), frame(0x00, X), frame(0x80)],
    "in pieces, in one write": [frame(0x02, X[:3]) + frame(0x80, X[3:])],
    "in pieces around a ping": [frame(0x02, X[:3]), frame(0x89, b"in between"), frame(0x80, X[3:])],
    "after pongs that nobody asked for": [frame(0x8A, b"x") * 3, frame(0x82, X)],
    "after pings": [frame(0x89), frame(0x89, bytes(125)), frame(0x82, X)],
    "as text": [frame(0x81, b'{"x": [0, 0, 0]}')],
    "as text with letters cut in two": [frame(0x01, '{"task": "b\u00e9'.encode()[:-1]), frame(0x80, b'\xa9"}')],
    "large": [frame(0x82, wire.encode({"x": np.zeros(20000)}))],
    "large, in writes of 1,000 bytes": [
        frame(0x82, wire.encode({"x": np.zeros(9000)}))[at : at + 1000] for at in range(0, 73000, 1000)
    ],
}


@pytest.mark.parametrize("writes", ANSWERED.values(), ids=ANSWERED)
def test_an_observation_is_answered_however_it_comes(joins_too, writes):
    with joins_too() as one:
        one.opened()
        for number in (1, 2, 3):
            for data in writes:
                one.connection.socket.sendall(data)
            assert first(one.receive()) == number


def test_a_ping_is_answered_with_what_it_brought(joins):
    with joins() as one:
        one.opened()
        for payload in (b"", b"hello", bytes(range(125))):
            assert one.connection.ping(payload).wait(PATIENCE)


CLOSED = {
    "not masked": (frame(0x82, X, masked=0), 1002),
    "a first reserved bit": (frame(0xC2, X), 1002),
    "a second": (frame(0xA2, X), 1002),
    "a third": (frame(0x92, X), 1002),
    "reserved bits of a ping": (frame(0xD9), 1002),
    **{f"the opcode {code:x}": (frame(0x80 | code, b""), 1002) for code in (3, 7, 0xB, 0xF)},
    "a piece of nothing": (frame(0x80, X), 1002),
    "a first piece of nothing": (frame(0x00, X), 1002),
    "a message within another": (frame(0x02, X[:3]) + frame(0x82, X), 1002),
    "a text within a message": (frame(0x02, X[:3]) + frame(0x81, b"{}"), 1002),
    "a ping in pieces": (frame(0x09, b"p"), 1002),
    "a ping that is too long": (frame(0x89, bytes(126)), 1002),
    "a close that is too long": (frame(0x88, struct.pack("!H", 1000) + bytes(124)), 1002),
    "text that is not UTF-8": (frame(0x81, b'{"task": "\xff"}'), 1007),
    "text that ends in half a letter": (frame(0x81, b'{"task": "\xc3'), 1007),
    "text in pieces that is not UTF-8": (frame(0x01, b'{"task": "\xc3') + frame(0x80, b'("}'), 1007),
    "a message of which the limit is long past": (frame(0x82, size=2**40), 1009),
    "with the highest bit of its length": (frame(0x82, size=2**63), 1009),
    "a close": (frame(0x88, struct.pack("!H", 1000) + b"bye"), 1000),
    "a close of an application's": (frame(0x88, struct.pack("!H", 3000)), 3000),
    "a close without a code": (frame(0x88), 1005),
    "a close of one byte": (frame(0x88, b"\x03"), 1002),
    **{f"a close with {it}": (frame(0x88, struct.pack("!H", it)), 1002) for it in (0, 999, 1004, 1006, 1016, 2999)},
    "a close whose reason is not UTF-8": (frame(0x88, struct.pack("!H", 1000) + b"\xff"), 1007),
    "a close, and a message after it": (frame(0x88, struct.pack("!H", 1000)) + frame(0x82, X), 1000),
}  # fmt: skip


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(("data", "code"), CLOSED.values(), ids=CLOSED)
def test_what_is_no_websocket_ends_with_its_code_and_disturbs_nobody(joins, data, code, at_once):
    with joins() as one, joins() as other:
        other.opened()
        one.opened()
        try:
            for piece in [data] if at_once else [data[at : at + 1] for at in range(len(data))]:
                one.connection.socket.sendall(piece)
        except OSError:
            pass  # it was told before it had said all
        assert one.closed() == code
        assert first(other.ask(X)) == 1


def test_a_peer_that_goes_in_the_middle_of_a_message_ends_its_own_session(joins):
    with joins() as other:
        other.opened()
        large = frame(0x82, os.urandom(200_000))
        for left in (1, 5, 13, 100, 20_000, 199_999):
            with joins() as one:
                one.opened()
                one.connection.socket.sendall(large[:left])
                one.vanish()
        assert first(other.ask(X)) == 1
