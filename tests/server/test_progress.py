"""What whoever waits is told of a load, as text and as numbers."""

import pytest
from offboard_client.wire import Status, read_handshake
from offboard_core import InferenceServer, Progress
from offboard_core.engine import ServiceTimeouts
from puppets import Door, Puppet, source
from robots import robot

QUICK = ServiceTimeouts(status_every=0.02)


def test_progress_is_a_text_that_knows_its_numbers():
    half = Progress("fetching act", 1_700_000_000, 3_400_000_000)
    assert half == "fetching act: 1.70 GB of 3.40 GB (50 %)"
    assert (half.phase, half.done, half.total) == ("fetching act", 1_700_000_000, 3_400_000_000)
    assert Progress("fetching nothing", 0, 0) == "fetching nothing: 0.0 MB of 0.0 MB"


@pytest.mark.rule("S-10")
def test_a_load_is_told_with_its_phase_its_time_and_its_bytes(monkeypatch):
    said = []
    with Door() as door:
        models = source({"a": Puppet, "b": Puppet})

        def load(checkpoint, report, place):
            said[:] = [report]
            report(Progress("fetching a", 1_000_000, 4_000_000))
            door.passing()
            return Puppet()

        monkeypatch.setattr(models.loader, "load", load)
        with (
            InferenceServer({"only": models}, port=0, limits=QUICK) as server,
            robot(server) as one,
            robot(server, "b") as behind,
        ):
            while "done_bytes" not in (frame := one.receive()):
                pass
            assert frame.pop("elapsed_s") >= 0
            assert frame == {
                "status": "loading",
                "message": "loading a: fetching a: 1.0 MB of 4.0 MB (25 %) (0 s so far)",
                "phase": "loading a: fetching a",
                "done_bytes": 1_000_000,
                "total_bytes": 4_000_000,
            }
            while "done_bytes" not in (frame := behind.receive()):
                pass
            assert frame["status"] == "waiting"
            assert frame["phase"] == "b comes after: loading a: fetching a"
            said[0]("warming up")
            while frame.get("phase") != "loading a: warming up":
                frame = one.receive()
            assert "done_bytes" not in frame
            door.open()
            one.opened()


@pytest.mark.rule("S-6", "S-10")
def test_waiting_is_told_with_its_time():
    with (
        InferenceServer({"only": source({"a": Puppet, "b": Puppet})}, port=0, limits=QUICK) as server,
        robot(server) as holder,
    ):
        holder.opened()
        host, port = holder.connection.local_address[:2]
        with robot(server, "b") as waiting:
            frame = waiting.receive()
            assert frame["phase"] == f"a is in use by {host}:{port}; b is loaded when they end"
            assert frame["elapsed_s"] >= 0


@pytest.mark.parametrize("odd", [None, "much", -1, float("nan"), float("inf"), True, [1], {}])
def test_odd_numbers_of_a_status_are_not_shown(odd):
    frame = {"status": "loading", "message": "m", "elapsed_s": odd, "done_bytes": odd, "total_bytes": odd, "phase": odd}
    status = read_handshake(frame)
    assert (status.elapsed_s, status.done_bytes, status.total_bytes) == (None, None, None)
    assert str(status) == "loading: m"


def test_a_status_crosses_the_wire_whole():
    status = Status("loading", "loading a: 1 of 2", "loading a", 1.5, 1, 2)
    assert read_handshake(status.frame()) == status
    assert Status("waiting", "w").frame() == {"status": "waiting", "message": "w"}
