"""Our end of ZeroMQ's connections: against libzmq itself, and against what no libzmq sends."""

import asyncio
import contextlib
import threading

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from offboard_gr00t.zmtp import ProtocolError, Request, ServerEnd, answer
from waits import PATIENCE, until
from zmtp_bytes import GREETING, HELLO, frame, introduced

LONGEST = 100_000


def give(end, data):
    """All of it, as a socket would: as much as there is room for at a time."""
    found = []
    while data:
        with end.room() as room:
            count = min(len(room), len(data))
            room[:count] = data[:count]
        found += end.received(count)
        while end.more:
            found += end.received(0)
        data = data[count:]
    return found


def ready():
    end = ServerEnd(LONGEST)
    give(end, HELLO)
    end.outgoing.clear()
    return end


class Echo(asyncio.BufferedProtocol):
    """Answers the first hundred bytes of what came, and what it did not keep with its absence."""

    def connection_made(self, transport):
        self.transport, self.end = transport, ServerEnd(LONGEST)
        self.flush()

    def flush(self):
        self.transport.write(bytes(self.end.outgoing))
        self.end.outgoing.clear()

    def get_buffer(self, sizehint):
        return self.end.room()

    def buffer_updated(self, nbytes):
        try:
            found = self.end.received(nbytes)
        except ProtocolError:
            self.transport.close()
            return
        self.flush()
        for request in found:
            self.transport.writelines(answer(request, b"too long" if request.body is None else request.body[:100]))


@pytest.fixture(scope="module")
def port():
    """Of an :class:`Echo`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(loop.create_server(Echo, "127.0.0.1", 0), loop).result(PATIENCE)
    yield server.sockets[0].getsockname()[1]
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


@contextlib.contextmanager
def client(port, kind=zmq.REQ, **options):
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        socket.rcvtimeo = socket.sndtimeo = int(PATIENCE * 1000)
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(f"tcp://127.0.0.1:{port}")
        yield socket


@pytest.mark.timeout(2 * PATIENCE)
class TestAgainstLibzmq:
    def test_short_and_long_messages_are_answered_and_too_long_ones_are_told(self, port):
        with client(port) as socket:
            for size in (0, 1, 255, 256, 65_536, LONGEST):
                socket.send(bytes(size))
                assert len(socket.recv()) == min(size, 100)
            socket.send(bytes(LONGEST + 1))
            assert socket.recv() == b"too long"
            socket.send(b"and on it goes")
            assert socket.recv() == b"and on it goes"

    def test_what_a_client_puts_before_its_message_is_put_before_the_answer(self, port):
        with client(port, zmq.DEALER) as socket:
            socket.send_multipart([b"7", b"", b"question"])
            assert socket.recv_multipart() == [b"7", b"", b"question"]
        with client(port, req_correlate=1) as socket:
            socket.send(b"question")
            assert socket.recv() == b"question", "libzmq takes no answer that does not repeat its number"

    def test_a_client_that_asks_whether_somebody_is_there_is_told(self, port):
        with (
            client(port, heartbeat_ivl=50, heartbeat_timeout=10_000, heartbeat_ttl=10_000) as socket,
            socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
        ):
            for _ in range(3):
                socket.send(b"still there?")
                assert socket.recv() == b"still there?"
                assert not monitor.poll(100)

    @pytest.mark.parametrize("kind", [zmq.PUSH, zmq.SUB])
    def test_sockets_that_ask_nothing_are_turned_away(self, port, kind):
        with zmq.Context() as context, context.socket(kind) as socket:
            socket.linger = 0
            with socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                socket.connect(f"tcp://127.0.0.1:{port}")
                until(lambda: monitor.poll(100), "it is turned away")


bodies = st.lists(st.one_of(st.binary(max_size=300), st.integers(250, 70_000).map(bytes)), max_size=4)


@given(bodies, st.lists(st.integers(1, 70_000), min_size=1, max_size=8))
def test_it_makes_no_difference_where_the_bytes_are_cut(bodies, cuts):
    data, end = HELLO + b"".join(frame(b"", 1) + frame(body) for body in bodies), ServerEnd(LONGEST)
    found, position = [], 0
    for turn in range(len(data)):
        if position >= len(data):
            break
        step = cuts[turn % len(cuts)]
        found += give(end, data[position : position + step])
        position += step
    assert found == [Request((b"",), body) for body in bodies]
    assert not end.begun


def test_it_greets_before_it_was_greeted_and_introduces_itself_after():
    end = ServerEnd(LONGEST)
    assert len(end.outgoing) == 64
    assert end.outgoing[10] == 3
    end.outgoing.clear()
    give(end, GREETING)
    assert bytes(end.outgoing).startswith(frame(b"\x05READY", 4)[:1])
    assert b"ROUTER" in end.outgoing
    assert not end.ready
    give(end, introduced(b"DEALER"))
    assert end.ready


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\n", "begins as no connection of ZeroMQ does"),
        (b"\x01\0" + bytes(20), "begins as no connection of ZeroMQ does"),
        (GREETING[:10] + b"\x01" + bytes(60), "speaks version 1 of ZMTP"),
        (GREETING.replace(b"NULL\0", b"CURVE"), "wants the security mechanism 'CURVE'"),
        (GREETING + frame(b"", 1), "sent a message before it had introduced itself"),
        (GREETING + frame(b"\x05ERROR\x02no", 4), "did not introduce itself with READY"),
        (GREETING + introduced(b"ROUTER"), "it is a ROUTER, expected a REQ"),
        (GREETING + frame(b"\x05READY", 4), "a socket of no type"),
        (GREETING + frame(b"\x05READY\xffSocket-Type", 4), "a socket of no type"),
        (GREETING + bytes((6,)) + (2**63).to_bytes(8, "big"), "a command has"),
        (HELLO + bytes((8, 0)), "flags that do not exist"),
        (HELLO + frame(b"no empty part"), "no empty part before its body"),
        (HELLO + frame(b"1", 1) + frame(b"body"), "no empty part before its body"),
        (HELLO + frame(b"", 1) * 9, "an envelope of 8 parts"),
        (HELLO + frame(bytes(256), 1), "an envelope of 8 parts"),
        (HELLO + frame(b"", 1) + bytes((2,)) + (2**63).to_bytes(8, "big"), "a message of 9,223,372,036,854"),
    ],
)  # fmt: skip
def test_what_is_no_client_of_ours_is_refused(data, text):
    with pytest.raises(ProtocolError, match=text):
        give(ServerEnd(LONGEST), data)


def test_a_length_takes_no_memory_before_its_bytes_come():
    end = ServerEnd(2**40)
    give(end, HELLO + frame(b"", 1) + bytes((2,)) + (2**39).to_bytes(8, "big") + bytes(1000))
    assert end.begun
    assert len(end.room()) < 200_000


def test_what_is_too_long_is_not_kept():
    end = ready()
    give(end, frame(b"", 1) + bytes((2,)) + (8 * LONGEST).to_bytes(8, "big"))
    for _ in range(7):
        assert give(end, bytes(LONGEST)) == []
        assert len(end.room()) <= 128 * 1024
    assert give(end, bytes(LONGEST)) == [Request((b"",), None)]
    assert not end.begun


def test_the_place_of_a_large_message_is_given_back():
    end = ServerEnd(2**26)
    give(end, HELLO + frame(b"", 1) + frame(bytes(2**25)))
    assert len(end.room()) <= 128 * 1024


def test_its_answers_to_pings_are_short():
    end = ready()
    assert give(end, frame(b"\x04PING\0\x0a" + bytes(900), 4)) == []
    assert bytes(end.outgoing) == frame(b"\x04PONG" + bytes(16), 4)


def test_so_many_frames_are_read_at_once_that_others_have_their_turns():
    end, data = ready(), (frame(b"", 1) + frame(b"")) * 100
    with end.room() as room:
        room[: len(data)] = data
    found = [len(end.received(len(data)))]
    while end.more:
        found.append(len(end.received(0)))
    assert found == [32, 32, 32, 4], "64 frames each"
    assert end.frames == 200
    assert not end.begun


def test_commands_are_frames_too():
    end, data = ready(), frame(b"", 4) * 100
    with end.room() as room:
        room[: len(data)] = data
    assert end.received(len(data)) == []
    assert end.more
    assert end.received(0) == []
    assert not end.more
