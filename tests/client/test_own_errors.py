"""What a program of ours or of a user raises is not taken for a socket that broke, though both may be an OSError."""

import threading

import pytest
from offboard_client import ConnectionLost, InferenceClient
from offboard_client.protocol import Deadline, Passed
from scripted_server import PATIENCE_S, ScriptedServer

PING = b"\x89\x00"


@pytest.mark.parametrize("fault", [BrokenPipeError("stdout is gone"), ConnectionLost("of somebody else's session")])
def test_what_a_display_raises_is_no_fault_of_the_server(clients, fault):
    def visit(peer):
        peer.upgrade()
        peer.send({"status": "loading", "message": "loading arm"})
        peer.wait_for_close()

    def show(status):
        shown.append(status.message)
        raise fault

    shown = []
    with ScriptedServer(visit) as server:
        with pytest.raises(type(fault), match=str(fault)) as caught:
            clients.session("127.0.0.1", server.port, on_status=show)
        assert caught.value is fault
        assert shown == ["loading arm"], "it was asked again"


def test_a_deadline_that_passes_is_no_socket_that_broke():
    """A ping has come, and the time is up before it is answered: nobody has closed anything."""

    def visit(peer):
        peer.ready()
        go.wait(PATIENCE_S)
        peer.raw.sendall(PING)
        sent.set()
        peer.wait_for_close()

    go, sent = threading.Event(), threading.Event()
    with (
        ScriptedServer(visit) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        connection = session._connection
        with connection.lock:  # nobody else answers it meanwhile
            times = iter([0.0])
            go.set()
            assert sent.wait(PATIENCE_S)
            with pytest.raises(Passed):
                connection.drain(Deadline(lambda: next(times, 9.0), 1.0))
        assert connection.alive
