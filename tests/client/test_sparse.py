import logging

from offboard_client import InferenceClient
from offboard_client.protocol import Sparse
from offboard_client.wire import Status
from scripted_server import ScriptedServer


class Heard:
    def __init__(self):
        self.now, self.said = 0.0, []
        self.sparse = Sparse(self.said.append, lambda: self.now)

    def hear(self, status, at):
        self.now = at
        self.sparse(status)


def loading(seconds, phase="loading act: warming up"):
    return Status("loading", f"{phase} ({seconds} s so far)", phase)


def test_the_same_is_said_at_growing_intervals():
    heard = Heard()
    for second in range(0, 601, 3):
        heard.hear(loading(second), float(second))
    assert [s.message for s in heard.said] == [loading(s).message for s in (0, 12, 33, 75, 156, 318, 480)]


def test_what_is_new_is_said_at_once():
    heard = Heard()
    heard.hear(loading(0), 0.0)
    heard.hear(loading(0, "loading act: compiling"), 0.1)
    heard.hear(Status("waiting", "loading act: compiling"), 0.2)
    assert len(heard.said) == 3


def test_numbers_alone_are_nothing_new_where_a_server_tells_no_phase():
    heard = Heard()
    heard.hear(Status("loading", "fetching 1.2 of 3.4 GB (3 s)"), 0.0)
    heard.hear(Status("loading", "fetching 2.2 of 3.4 GB (6 s)"), 3.0)
    assert len(heard.said) == 1


def test_a_wait_after_another_is_said_again():
    heard = Heard()
    heard.hear(loading(0), 0.0)
    heard.hear(loading(0), 60.0)
    assert len(heard.said) == 2


def test_a_client_without_on_status_logs_what_is_new(caplog):
    def visit(peer):
        peer.upgrade()
        for second in range(20):
            peer.send({"status": "loading", "message": f"loading act ({3 * second} s so far)"})
        peer.send({"status": "ready", "meta": {}, "session_id": "s"})
        peer.wait_for_close()

    with (
        caplog.at_level(logging.WARNING, "offboard_client"),
        ScriptedServer(visit) as server,
        InferenceClient("127.0.0.1", server.port) as client,
    ):
        client.new_session().close()
    assert [record.message for record in caplog.records] == ["loading act (0 s so far)"]
