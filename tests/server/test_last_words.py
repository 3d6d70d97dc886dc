"""A server that stops sends what it has answered, also to a client that is slow to read."""

import struct
import threading

import numpy as np
import pytest
from offboard_client import wire
from offboard_core import Chunk
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, reached, source, until
from robots import get, get_json, robot
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

#: Of a message, at most.
MESSAGE_BYTES = wire.WireLimits().message_bytes

#: More than the sockets between two programs hold.
LARGE = np.zeros((1000, 3000))


@pytest.mark.rule("C-8")
def test_every_answer_that_there_is_leaves_before_the_socket_is_closed(door):
    policy = Puppet(lambda episode, inputs: Chunk(LARGE), doors={0: door})
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0, grace=PATIENCE) as server:
        stopping = threading.Thread(target=server.stop, args=(PATIENCE,))
        with robot(server) as one:
            one.opened()
            one.send({"x": 1})
            reached(door.entered)
            one.send({"type": "ping"})
            # Who holds this keeps the client from reading: the large answer stays with the server, and the small one.
            with one.connection.protocol_mutex:
                door.open()
                stopping.start()
                until(lambda: get(server, "/readyz")[0] == 503, "it drains")
                for _ in range(20):
                    assert get(server, "/livez")[0] == 200, "it waits for the client"
            assert len(one.receive()["result"]) == len(LARGE)
            assert one.receive()["status"] == "pong"
            assert one.closed() == 1012
            assert one.connection.close_reason == "shutting_down"
        stopping.join(PATIENCE)


def test_who_never_reads_keeps_no_server_from_ending(door):
    policy = Puppet(lambda episode, inputs: Chunk(LARGE), doors={0: door})
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0, grace=0.1) as server, robot(server) as one:
        one.opened()
        one.send({"x": 1})
        reached(door.entered)
        one.send({"type": "ping"})
        with one.connection.protocol_mutex:
            door.open()
            until(lambda: not get_json(server, "/api/v1/status")["in_flight"], "it is answered")
            server.stop(PATIENCE)


def test_who_reads_no_more_keeps_no_connection_that_was_closed(monkeypatch):
    """A ping that falls between our close and the end of the wait for theirs was the last look at it."""
    served, lost = [], threading.Event()

    def made(self, transport):
        connection_made(self, transport)
        self.close_timeout = 0.1
        served.append(self)

    def gone(self, error):
        connection_lost(self, error)
        lost.set()

    connection_made, connection_lost = (
        WebSocketsSansIOProtocol.connection_made,
        WebSocketsSansIOProtocol.connection_lost,
    )
    monkeypatch.setattr(WebSocketsSansIOProtocol, "connection_made", made)
    monkeypatch.setattr(WebSocketsSansIOProtocol, "connection_lost", gone)
    policy = Puppet(lambda episode, inputs: Chunk(np.zeros((100, 32))))
    with (
        InferenceServer({"only": source({"a": lambda: policy})}, port=0, ping_interval=3600) as server,
        robot(server) as one,
    ):
        one.opened()
        (socket,) = served
        with one.connection.protocol_mutex:  # the client reads until it holds a little, and then no more
            asked = masked(wire.encode({"x": 1}))
            until(lambda: left(one, socket, asked), "the server is left with something to send")
            one.connection.socket.sendall(masked(bytes(MESSAGE_BYTES + 1)))
            until(lambda: socket.close_sent, "it is closed, for its message is too large")
            socket.ping_interval = 0.3
            socket.loop.call_soon_threadsafe(socket.send_keepalive_ping)
            reached(lost)


def left(one, socket, asked):
    """Whether there is; else one more answer is asked for."""
    if not socket.transport.get_write_buffer_size():
        one.connection.socket.sendall(asked)
    return socket.transport.get_write_buffer_size() > 0


def masked(payload):
    """A binary frame; a mask of zeros leaves it as it is."""
    size = len(payload)
    return (
        struct.pack("!BB4x", 0x82, 0x80 | size) + payload
        if size < 126
        else (struct.pack("!BBQ4x", 0x82, 0x80 | 127, size) + payload)
    )
