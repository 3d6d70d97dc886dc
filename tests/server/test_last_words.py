"""A server that stops sends what it has answered, also to a client that is slow to read."""

import threading

import numpy as np
import pytest
from offboard_core import Chunk
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, reached, source, until
from robots import get, get_json, robot

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
