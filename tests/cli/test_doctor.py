"""``offboard doctor`` as it is typed; what it concludes is in tests/client/test_doctor.py."""

import contextlib
import json
import socket
import sys

import pytest
from offboard_client import InferenceClient
from offboard_client.cli import main
from offboard_client.doctor import survey, try_memory
from offboard_client.memory import MemoryOffer
from offboard_core import InferenceServer
from offboard_core.engine import ServiceTimeouts
from offboard_process import in_process
from scripted_server import META, Gone, ScriptedServer
from terminal import Terminal
from waits import PATIENCE, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux's memory")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """What is measured after a rest is not looked at here."""
    measuring = survey.__globals__
    monkeypatch.setitem(measuring, "REST_S", 0.0)
    monkeypatch.setitem(measuring, "PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def server():
    """Who is cut off may come back as long as any test waits: a session that is not ended as it should be is seen."""
    limits = ServiceTimeouts(linger=100 * PATIENCE)
    with InferenceServer({"10000": lambda: lambda observation: []}, port=0, limits=limits) as server:
        yield loaded(server)


def loaded(server):
    """Its address, once its model is there: unasked none is loaded, and no session opened."""
    with InferenceClient("127.0.0.1", server.port) as client:
        until(lambda: client.server_status()["loaded"] is not None, "its model is loaded")
    return f"127.0.0.1:{server.port}"


def left(peer):
    with contextlib.suppress(Gone):
        peer.read_request()


def test_a_server_of_ours_is_measured_and_left_as_it_was(server):
    done = in_process("doctor", server, "--json")
    told = json.loads(done.stdout)
    assert (told["server"], told["reached"], told["interrupted"]) == (server, True, False)
    assert done.returncode == int(any(each["verdict"] == "mend" for each in told["findings"])), done.stderr
    measured = told["measured"]
    assert (measured["kind"], measured["compresses"], measured["why_not"]) == ("offboard", False, ""), measured
    assert measured["offboard_version"]
    assert abs(measured["ahead_s"]) < 100
    assert len(measured["round_trips_s"]) == 100
    assert [len(sent["rested"]) for sent in measured["sent"].values()] == [4, 3]
    named = {each["what"]: each for each in told["findings"]}
    assert named["compression"]["verdict"] == "fine"
    assert named["network interface"]["found"].startswith("lo")
    with InferenceClient(server) as client:
        until(lambda: not client.server_status()["holders"], "the model is given back")
        assert client.server_status()["outcomes"].keys() <= {"ok", "bad_message"}


@pytest.mark.parametrize(
    "version", [b"\xff\0", [0.1], 7, float("nan"), "9" * 500_000], ids=lambda said: type(said).__name__
)
def test_a_version_that_is_none_is_told_and_not_passed_on(version):
    def measured(peer):
        peer.ready({**META, "offboard_version": version})
        peer.wait_for_close()

    def status(peer):
        peer.respond(200, body=json.dumps({"holders": [], "loaded": {"model": "a"}, "sessions": 0}).encode())

    with ScriptedServer(left, status, measured) as server:
        done = in_process("doctor", f"127.0.0.1:{server.port}", "--json")
    assert len(done.stdout) < 20_000
    told = json.loads(done.stdout, parse_constant=pytest.fail)
    assert told["measured"]["offboard_version"] is None
    (about,) = (each["found"] for each in told["findings"] if each["what"] == "server")
    assert "which is no version of ours" in about


def test_no_robot_loses_its_place_to_it():
    """One that has been silent for too long goes when somebody waits for its place."""

    class Alone:
        max_sessions = 1

        def infer(self, observation):
            return []

    limits = ServiceTimeouts(idle=0.1)
    with InferenceServer({"a": Alone}, port=0, limits=limits) as server:
        address = f"127.0.0.1:{server.port}"
        with InferenceClient(address) as client, client.new_session():
            before = [each["session"] for each in client.server_status()["holders"]]
            told = json.loads(in_process("doctor", address, "--json").stdout)
            assert [each["session"] for each in client.server_status()["holders"]] == before
            assert len(before) == 1
    assert told["measured"]["round_trips_s"] == []
    named = {each["what"]: each for each in told["findings"]}
    assert named["server"]["verdict"] == "fine"
    assert (named["way"]["verdict"], "--model-id" in named["way"]["found"]) == ("unknown", True)


@pytest.mark.parametrize("status", [{"holders": [{}]}, {"holders": [], "waiting": ["b"]}])
def test_no_session_is_opened_while_somebody_holds_the_model_or_waits(status):
    def busy(peer):
        loaded = {"model": "a", "health": {"state": "ready"}}
        peer.respond(200, body=json.dumps({"loaded": loaded, "sessions": 1, **status}).encode())

    with ScriptedServer(left, busy) as server:
        told = json.loads(in_process("doctor", f"127.0.0.1:{server.port}", "--json").stdout)
    assert "--model-id" in told["measured"]["why_not"]


def test_no_model_is_loaded_for_it():
    def status(peer):
        peer.respond(200, body=json.dumps({"holders": [], "loaded": None, "sessions": 0}).encode())

    with ScriptedServer(left, status) as server:
        told = json.loads(in_process("doctor", f"127.0.0.1:{server.port}", "--json").stdout)
    assert "--model-id names one" in told["measured"]["why_not"]
    assert {"server", "way"} <= {each["what"] for each in told["findings"]}


def test_a_model_that_is_named_is_the_one_whose_session_is_opened():
    def status(peer):
        peer.respond(200, body=json.dumps({"holders": [], "loaded": None}).encode())

    asked = []

    def session(peer):
        asked.append(peer.read_request().path)
        peer.respond(404, body=b'{"code": "model_not_found", "error": "there is none"}')

    for line in (["127.0.0.1:{}", "--model-id", "a/b c"], ["ws://127.0.0.1:{}/api/v1/session/a/b%20c"]):
        with ScriptedServer(left, status, session) as server:
            told = json.loads(in_process("doctor", *(each.format(server.port) for each in line), "--json").stdout)
        assert "there is none" in told["measured"]["why_not"]
    assert [path.partition("?")[0] for path in asked] == ["/api/v1/session/a/b%20c"] * 2


def test_where_nobody_is_this_computer_is_looked_at_all_the_same():
    done = in_process("doctor", "127.0.0.1:1")
    assert done.returncode == 2
    assert "processors" in done.stdout
    assert done.stderr.splitlines()[-1] == "offboard: 127.0.0.1:1 refuses connections: is the server running there?"
    told = json.loads(in_process("doctor", "127.0.0.1:1", "--json").stdout)
    assert (told["reached"], told["measured"]) == (False, None)


def test_this_computer_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "99999")
    done = in_process("doctor")
    assert done.returncode == 1
    assert "\nthreads of libraries. Better: " in done.stdout
    assert "\n  export OMP_NUM_THREADS=" in done.stdout, "a command stands alone on its line"
    assert done.stdout.splitlines()[-1].endswith("to mend")
    told = json.loads(in_process("doctor", "--json").stdout)
    assert (told["server"], told["reached"], told["measured"]) == (None, None, None)


def test_it_fits_a_terminal_and_a_command_is_never_broken(monkeypatch, server):
    monkeypatch.setenv("OMP_NUM_THREADS", "99999")
    terminal = Terminal(monkeypatch, 80)
    with terminal.stands_for("stdout"):
        assert main(["doctor", server]) == 1
    lines = [line for line in terminal.lines if not line.startswith("  ")]
    assert [line for line in lines if len(line) > 80] == []
    assert any(line.startswith("  export OMP_NUM_THREADS=") for line in terminal.lines)


@pytest.mark.parametrize("line", [["--timeout", "0"], ["--timeout", "nan"], ["x", "y"], ["--port", "8000"]])
def test_a_line_that_makes_no_sense(line):
    assert in_process("doctor", *line).returncode == 2


# -- memory of one machine -------------------------------------------------------------------------------------------
def shared_memory(*line):
    """What is said of it, and the finding."""
    told = json.loads(in_process("doctor", *line, "--json", "--timeout", str(PATIENCE)).stdout)
    found = [each for each in told["findings"] if each["what"] == "shared memory"]
    return told["measured"]["shared_memory"], found


@linux
def test_a_server_on_this_machine_takes_memory_and_it_says_so(server):
    said, [found] = shared_memory(server)
    assert said == {"used": True, "why_not": ""}
    assert found["verdict"] == "fine"
    assert "shared memory" in in_process("doctor", server).stdout


@linux
def test_one_that_was_told_to_take_none_is_told_apart(server):
    with InferenceServer({"a": lambda: lambda observation: []}, port=0, shared_memory=False) as other:
        said, [found] = shared_memory(loaded(other))
    assert said["used"] is False
    assert "--no-shared-memory" in said["why_not"]
    assert (found["verdict"], found["found"]) == ("note", f"not used: {said['why_not']}")
    assert found["better"]
    assert found["why"]


@linux
def test_who_is_another_user_is_told_so(server, monkeypatch):
    monkeypatch.setattr("offboard_core.server.door.same_user", lambda sock: False)
    said, _ = shared_memory(server)
    assert said["used"] is False
    assert "of another user" in said["why_not"] or "its own user" in said["why_not"]
    monkeypatch.setattr("offboard_client.memory.handing.same_user", lambda sock: False)
    assert "who listens there is another user" in shared_memory(server)[0]["why_not"]


@linux
def test_a_server_in_a_container_or_behind_a_tunnel_is_told_so(server, monkeypatch):
    offered = MemoryOffer("offboard-" + "0" * 32, "0" * 32)
    monkeypatch.setattr("offboard_client.wire.messages.read_offer", lambda found: offered)
    said, _ = shared_memory(server)
    assert said["used"] is False
    assert "a network of its own, as in a container" in said["why_not"]


@linux
def test_what_the_door_says_is_told_on_one_line(server, monkeypatch):
    monkeypatch.setattr("offboard_core.server.door.Door._taken", lambda *_: b"no\n\x1b[2Jway")
    said, _ = shared_memory(server)
    assert said["why_not"].startswith("it was not taken: no ")
    assert said["why_not"].isprintable()


@pytest.mark.parametrize(
    ("name", "value"), [("sys.platform", "darwin"), ("offboard_client.memory.mapped.SEALED", False)]
)
def test_a_system_without_such_memory_is_told_so(server, name, value):
    host, _, port = server.partition(":")
    with socket.create_connection((host, int(port))) as raw, pytest.MonkeyPatch.context() as patch:
        patch.setattr(name, value)
        found = try_memory(raw, None)
    assert found is not None
    assert not found.used
    assert "this system has no" in found.why_not


@linux
def test_of_a_server_on_another_machine_nothing_is_said(server, monkeypatch):
    monkeypatch.setattr("offboard_client.doctor.memory.on_one_machine", lambda one, other: False)
    assert shared_memory(server) == (None, [])
