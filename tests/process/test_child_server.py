"""A vendor that brings a command line, a wire and failure texts, in a real server, with faults in mid-flight."""

import ast
import contextlib
import json
import os
import signal
import socket
import socketserver
import sys
import threading
from functools import partial
from pathlib import Path

import line_vendor
import numpy as np
import pytest
from offboard_client import (
    InferenceClient,
    InferTimeout,
    InvalidAction,
    LoadFailed,
    ModelLost,
    OffboardError,
    PolicyFailed,
)
from offboard_core import Health, InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.engine import ServiceTimeouts
from offboard_core.plugins import Plugins
from offboard_core.process import AttachedServer, ChildServer, Stale, free_port, take_port
from offboard_core.types import ALONE
from pids import alive, state
from puppets import PATIENCE, until
from robots import get


class Bed:
    """A folder of checkpoints 1 (answers 1), 2 (answers 2) …, and what serves them."""

    def __init__(self, place):
        self.place = place

    def write(self, number, **says):
        folder = self.place / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "says.json").write_text(json.dumps({"value": float(number), **says}))
        return folder

    def starts(self, number=1):
        log = self.place / str(number) / "starts"
        return [int(pid) for pid in log.read_text().split()] if log.exists() else []

    def running(self):
        pids = [pid for folder in self.place.iterdir() for pid in self.starts(folder.name)]
        return [pid for pid in pids if alive(pid)]

    def source(self, **options):
        plugins = Plugins.of(line=line_vendor)
        return from_flags(plugins, vendor="line", checkpoints_dir=str(self.place), loader_options=options)

    def policy(self, **options):
        source = self.source(**options)
        return source.loader.load(source.default(), lambda _: None, ALONE)

    @contextlib.contextmanager
    def serving(self, **options):
        limits = ServiceTimeouts(close=PATIENCE)
        with (
            InferenceServer({"": self.source(**options)}, port=0, limits=limits) as server,
            InferenceClient(server.host, server.port) as client,
        ):
            yield server, client


@pytest.fixture
def bed(tmp_path, monkeypatch):
    monkeypatch.setattr("offboard_core.process.supervisor.BACK_OFF", 0.001)
    made = Bed(tmp_path / "runs")
    made.write(1)
    yield made
    assert made.running() == [], "nothing is left behind"


def ask(session, task="", state=0.5):
    return session.infer({"state": np.array([state]), "task": task})[0]["action"]["action"]


def refusal(session):
    """What a robot is told that may try again."""
    with pytest.raises(PolicyFailed, match="line is being restarted") as caught:
        ask(session)
    return str(caught.value)


def eventually(session):
    """Ask as a robot does that is told to try again; what it was told, and the answer."""
    heard = []

    def answered():
        try:
            heard.append(ask(session))
        except PolicyFailed as error:
            heard.append(error)
        return not isinstance(heard[-1], Exception)

    until(answered, "it answers again")
    return heard


def test_a_vendor_brings_nothing_about_processes():
    tree = ast.parse(Path(line_vendor.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not imported & {"threading", "subprocess", "signal", "os", "multiprocessing", "asyncio", "logging"}
    assert not [name for name in ast.walk(tree) if isinstance(name, ast.Attribute) and name.attr in ("kill", "wait")]


def test_it_is_served(bed):
    bed.write(2)
    with bed.serving() as (_, client):
        for model, value in (("1", 1.0), ("2", 2.0), ("1", 1.0)):
            with client.new_session(model) as session:
                assert list(ask(session)) == [value, 0.5]
                assert len(bed.running()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who listens")
def test_the_status_says_which_process_has_the_model(bed):
    with bed.serving() as (server, client), client.new_session() as session:

        def elsewhere():
            [replica] = json.loads(get(server, "/api/v1/status")[1])["replicas"]
            return replica["elsewhere"]

        here = {"python": ".".join(map(str, sys.version_info[:2])), "environment": ""}
        assert session.metadata["elsewhere"] == here
        for _ in range(2):
            found = elsewhere()
            assert found == {"pid": bed.starts()[-1], **here, "memory_bytes": found["memory_bytes"]}
            assert found["memory_bytes"] > 1_000_000
            bed.write(1, sleeps=True)
            os.kill(bed.starts()[-1], signal.SIGKILL)
            until(lambda: elsewhere()["pid"] is None, "it is known that there is none")
            assert elsewhere() == {"pid": None, "python": "", "environment": "", "memory_bytes": None}
            bed.write(1)
            eventually(session)


def test_a_first_inference_that_breaks_off_is_tried_again_while_the_child_runs(bed):
    bed.write(1, firsts=["half", "half"])
    policy = bed.policy()
    try:
        assert policy.ask([0.5], "").action[0].tolist() == [1.0, 0.5]
        assert len(bed.starts()) == 1
    finally:
        policy.close()


def test_killed_in_mid_inference_it_comes_back_and_the_session_goes_on(bed):
    with bed.serving() as (_, client), client.new_session() as session:
        # The second where its end has not been noticed yet, or the next one runs already.
        told = "line (is being restarted|runs on).*try again later"
        with pytest.raises(PolicyFailed, match=rf"the connection to line broke in mid-inference.*{told}"):
            ask(session, "die")
        heard = eventually(session)
        assert list(heard[-1]) == [1.0, 0.5]
        assert all("try again later" in str(error) for error in heard[:-1])
        assert len(bed.starts()) == 2


def test_killed_while_nobody_asks_it_is_not_ready_and_newcomers_wait(bed):
    with bed.serving() as (server, client), client.new_session() as session:
        assert get(server, "/readyz")[0] == 200
        bed.write(1, sleeps=True)
        os.kill(bed.starts()[-1], signal.SIGKILL)
        until(lambda: get(server, "/readyz")[0] == 503, "it is known that nobody can answer")
        assert "line is being restarted" in get(server, "/readyz")[1]
        heard, answers = [], []

        def newcomer():
            with (
                InferenceClient(server.host, server.port, on_status=lambda s: heard.append(s.message)) as other,
                other.new_session() as second,
            ):
                answers.append(ask(second))

        thread = threading.Thread(target=newcomer)
        thread.start()
        until(lambda: any("line is being restarted" in text for text in heard), "the newcomer is told")
        until(lambda: len(bed.starts()) == 2, "the next one runs")
        until(lambda: "it says: reading the weights; try again later" in refusal(session), "its last line is told")
        assert answers == []
        bed.write(1)
        os.kill(bed.starts()[-1], signal.SIGKILL)
        thread.join(PATIENCE)
        assert list(answers[0]) == [1.0, 0.5]
        assert get(server, "/readyz")[0] == 200
        assert list(eventually(session)[-1]) == [1.0, 0.5]


def test_one_that_hangs_is_killed_and_started_anew(bed):
    with bed.serving(timeout=3.0) as (_, client), client.new_session() as session:
        with pytest.raises(InferTimeout, match="line did not answer in time; it is being restarted"):
            ask(session, "hang")
        assert list(eventually(session)[-1]) == [1.0, 0.5]
        assert len(bed.starts()) == 2


def test_a_wire_may_word_its_own_time_out(bed):
    policy = bed.policy()

    def question(line):
        raise InferTimeout("line did not answer within 3 s")

    try:
        with pytest.raises(InferTimeout, match="line did not answer within 3 s; it is being restarted"):
            policy._server.ask(question)
        until(lambda: len(bed.starts()) == 2 and policy.health() == Health(), "it is back")
    finally:
        policy.close()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ({"start": "CUDA out of memory"}, r"exited with code 3[\s\S]*the GPU is full. Next: see with nvidia-smi"),
        ({"start": "ModuleNotFoundError: No module named 'line'"}, r"line's environment is not complete.*in line "),
        ({"start": "OSError: No space left on device"}, r"the disk is full"),
        ({"start": "what nobody has seen"}, r"The end of its log:\nreading the weights\nwhat nobody has seen$"),
        ({"firsts": ["nan"]}, "line failed its first inference: line answered numbers that are not finite"),
        ({"firsts": ["fail"]}, "line failed its first inference: line failed: ValueError: a bad thing"),
        ({"firsts": ["garbage"]}, "line failed its first inference: line answered no JSON"),
        ({"firsts": ["die"]}, r"was killed by SIGKILL[\s\S]*see with dmesg"),
    ],
)
def test_one_that_fails_at_its_start_is_explained_and_harms_nobody(bed, says, told):
    bed.write(0, **says)
    with bed.serving() as (_, client):
        with pytest.raises(LoadFailed, match=told):
            client.new_session("0")
        assert len(bed.starts(0)) == 1
        with client.new_session("1") as session:
            assert list(ask(session)) == [1.0, 0.5]


@pytest.mark.parametrize(
    ("task", "error", "told"),
    [
        ("nan", InvalidAction, "not finite"),
        ("text", InvalidAction, "expected rows of numbers"),
        ("garbage", PolicyFailed, "line answered no JSON"),
        ("fail", PolicyFailed, "line failed: ValueError: a bad thing"),
        ("half", PolicyFailed, r"broke in mid-inference \(it hung up\); line runs on; try again later"),
    ],
)
def test_a_wrong_answer_costs_one_request(bed, task, error, told):
    with bed.serving() as (server, client), client.new_session() as session, client.new_session() as other:
        with pytest.raises(error, match=told):
            ask(session, task)
        assert list(ask(session)) == [1.0, 0.5]
        assert list(ask(other)) == [1.0, 0.5]
        assert len(bed.starts()) == 1
        assert get(server, "/readyz")[0] == 200


def test_what_it_says_unasked_is_no_answer(bed):
    policy = bed.policy()
    try:
        for state in (0.1, 0.2, 0.3):
            assert policy.ask([state], "chatty").action[0].tolist() == [1.0, state]
            line = policy._server._wire
            until(lambda line=line: not line.usable(), "it says more")
        assert len(bed.starts()) == 1
    finally:
        policy.close()


def test_what_it_says_unasked_after_the_next_question_is_no_answer_to_that(bed):
    policy = bed.policy()
    try:
        for state, task in ((0.1, "late"), (0.2, "late"), (0.3, "")):
            assert policy.ask([state], task).action[0].tolist() == [1.0, state]
        assert len(bed.starts()) == 1
    finally:
        policy.close()


@pytest.mark.parametrize("error", [PolicyFailed("it failed"), KeyError("a bug"), KeyboardInterrupt()])
def test_after_any_error_the_connection_is_a_new_one(bed, error):
    """An answer that came late would be taken for the next question's."""
    policy, asked = bed.policy(), []

    def question(line):
        asked.append(line)
        line._socket.sendall(json.dumps({"number": 9, "state": [9.0], "task": ""}).encode() + b"\n")
        raise error

    try:
        with pytest.raises(type(error)):
            policy._server.ask(question)
        assert asked[0]._socket.fileno() < 0
        assert policy.ask([0.5], "").action[0].tolist() == [1.0, 0.5]
        assert len(bed.starts()) == 1
    finally:
        policy.close()


def test_an_answer_to_an_earlier_question_is_asked_for_anew_and_once(bed):
    policy, asked = bed.policy(), []

    def question(line, times=1):
        asked.append(line)
        if len(asked) <= times:
            raise Stale("line said it already")
        return line.ask([0.5], "", PATIENCE)[0].tolist()

    try:
        assert policy._server.ask(question) == [1.0, 0.5]
        assert len(set(asked)) == 2
        asked.clear()
        with pytest.raises(PolicyFailed, match=r"broke in mid-inference \(line said it already\)"):
            policy._server.ask(partial(question, times=2))
        assert len(asked) == 2
    finally:
        policy.close()


def test_one_that_lives_and_takes_no_connection_is_started_anew(bed):
    with bed.serving() as (_, client), client.new_session() as session:
        with pytest.raises(PolicyFailed, match="it hung up"):
            ask(session, "deaf")
        heard = eventually(session)
        refused = [str(error) for error in heard if "takes no connection" in str(error)]
        assert len(refused) == 3
        assert "3 times in a row, and is being restarted; try again later" in refused[-1]
        assert list(heard[-1]) == [1.0, 0.5]
        assert len(bed.starts()) == 2


def test_refusals_that_an_answer_parts_are_not_in_a_row(bed):
    policy = bed.policy()
    server = policy._server
    connect = server._connect

    def refused(port):
        raise ConnectionRefusedError(111, "Connection refused")

    try:
        for _ in range(3):
            server._drop()
            server._connect = refused
            for _ in range(2):
                with pytest.raises(PolicyFailed, match=r"takes no connection \(Connection refused\); try again later"):
                    policy.ask([0.5], "")
            server._connect = connect
            assert policy.ask([0.5], "").action[0].tolist() == [1.0, 0.5]
        assert len(bed.starts()) == 1
    finally:
        policy.close()


def test_one_that_cannot_come_back_is_lost_to_every_session_and_loaded_anew_for_the_next(bed):
    with bed.serving(restarts=2) as (server, client), client.new_session() as session, client.new_session() as other:
        bed.write(1, start="CUDA out of memory")
        os.kill(bed.starts()[-1], signal.SIGKILL)
        until(lambda: "the GPU is full" in get(server, "/readyz")[1] or len(bed.starts()) == 3, "it is given up")
        for lost in (session, other):

            def gone(lost=lost):
                try:
                    ask(lost)
                except PolicyFailed:
                    return False
                except OffboardError as error:
                    return not isinstance(error, LoadFailed)

            until(gone, "each is told")
        bed.write(1)
        with client.new_session() as fresh:
            assert list(ask(fresh)) == [1.0, 0.5]


def test_what_it_is_lost_for_is_said_with_the_likely_cause(bed):
    policy = bed.policy(restarts=1)
    try:
        assert policy.health() == Health()
        bed.write(1, start="CUDA out of memory")
        os.kill(bed.starts()[-1], signal.SIGKILL)
        until(lambda: policy.health().state == "failed", "it is given up")
        assert policy.health().reason.startswith("line failed 2 times in a row: line's server exited with code 3.")
        with pytest.raises(ModelLost, match="the GPU is full"):
            policy.ask([0.5], "")
    finally:
        policy.close()


def test_closing_ends_what_is_asked_and_leaves_no_port_taken(bed):
    port, errors = free_port(), []
    policy = bed.policy(port=port)

    def asks():
        try:
            policy.ask([0.5], "hang")
        except PolicyFailed as error:
            errors.append(error)

    thread = threading.Thread(target=asks)
    thread.start()
    [pid] = bed.starts()
    until(lambda: state(pid) == "T", "it hangs")
    policy.close()
    thread.join(PATIENCE)
    assert len(errors) == 1
    _, guard = take_port(port, "line")
    guard.close()


def test_a_port_that_another_has_is_not_asked(bed):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(LoadFailed, match=rf"port {port} cannot be used for line.*\n.*leave --port away"):
            bed.policy(port=port)
    assert bed.starts() == []


class Stranger(socketserver.StreamRequestHandler):
    """Another model's server of the same vendor."""

    def handle(self):
        for line in self.rfile:
            answer = {"number": json.loads(line)["number"], "actions": [[9.0, 9.0]]}
            self.wfile.write(json.dumps(answer).encode() + b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who listens")
def test_a_port_that_another_takes_while_the_child_loads_is_not_asked_either(bed):
    """Nobody listens while a model loads, and what answers first would be taken for it."""
    bed.write(1, sleeps=True)
    port = free_port()
    there = []
    with contextlib.ExitStack() as stack:

        def report(line):
            if "reading" in line and not there:
                there.append(line)
                server = stack.enter_context(socketserver.TCPServer(("127.0.0.1", port), Stranger))
                threading.Thread(target=server.handle_request, daemon=True).start()

        source = bed.source(port=port)
        with pytest.raises(LoadFailed, match=rf"port {port} was taken by process {os.getpid()} while line was start"):
            source.loader.load(source.default(), report, ALONE).close()


# -- a server that others run -----------------------------------------------------------------------------------------


@pytest.fixture
def attached(bed, monkeypatch):
    """``attached(port)``: what is attached to a server there, and looks after it a hundred times a second."""
    monkeypatch.setattr("offboard_core.process.attached_server.EVERY", 0.01)
    with contextlib.ExitStack() as stack:

        def attach(port, watched=True):
            server = AttachedServer(
                lambda seconds: line_vendor.Line(port),
                line_vendor.warmed_up,
                lambda line: line.ask([0.0], "", PATIENCE)[0, 0],
                LoadFailed,
                name="line",
                address=f"line://{port}",
                startup_timeout=PATIENCE,
            )
            stack.callback(server.close)
            server.open(lambda _: None)
            if watched:
                server.watch()
            return server

        yield attach


@contextlib.contextmanager
def running(bed, number, port):
    with line_vendor.start(str(bed.place / str(number)), port) as child:

        def listens():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                return True
            return False

        child.wait_ready(listens, PATIENCE, lambda _: None, 0.02)
        yield child


def test_attached_to_a_server_of_others_it_is_looked_for_and_left_running(bed, attached):
    port = free_port()
    with running(bed, 1, port) as child:
        server = attached(port)
        assert server.ask(lambda line: line.ask([0.5], "", PATIENCE))[0].tolist() == [1.0, 0.5]
        with pytest.raises(PolicyFailed, match="a bad thing"):
            server.ask(lambda line: line.ask([0.5], "fail", PATIENCE))
        assert child.running
    gone = "line cannot be reached: Connection refused"  # at first it may be what broke off that is told
    until(lambda: server.health().reason.startswith(gone), "it is gone")
    with pytest.raises(PolicyFailed, match="try again later"):
        server.ask(lambda line: line.ask([0.5], "", PATIENCE))
    with running(bed, 1, port):
        until(lambda: server.health() == Health(), "it is back")
        assert server.ask(lambda line: line.ask([0.5], "", PATIENCE))[0].tolist() == [1.0, 0.5]
        server.close()


def test_attached_to_one_that_comes_back_with_another_model_it_has_failed(bed, attached):
    port = free_port()
    bed.write(2)
    with running(bed, 1, port):
        server = attached(port)
    with running(bed, 2, port):
        until(lambda: server.health().state == "failed", "it is another one")
        with pytest.raises(ModelLost, match=f"line://{port} serves another policy now"):
            server.ask(lambda line: line.ask([0.5], "", PATIENCE))


def test_attached_to_one_whose_answers_show_that_it_is_another_it_has_failed_for_good(bed, attached):
    port = free_port()
    with running(bed, 1, port):
        server = attached(port)
        server.lose("it answered as another")
        for _ in range(2):
            with pytest.raises(ModelLost, match="it answered as another; open a new session"):
                server.ask(lambda line: line.ask([0.5], "", PATIENCE))
        assert server.health() == Health("failed", "it answered as another")


def test_attached_to_one_that_hangs_the_time_ends_and_it_recovers(bed, attached):
    port = free_port()
    with running(bed, 1, port):
        server = attached(port)
        with pytest.raises(InferTimeout, match="line did not answer in time"):
            server.ask(lambda line: line.ask([0.5], "hang", 0.3))
        assert server.health().state == "recovering"
        os.kill(bed.starts()[-1], signal.SIGCONT)
        until(lambda: server.health() == Health(), "it is back")
        server.close()


def test_attached_too_a_connection_is_left_after_any_error_and_at_the_close(bed, attached):
    port = free_port()
    with running(bed, 1, port):
        server, asked = attached(port), []

        def question(line):
            asked.append(line)
            raise KeyError("a bug")

        with pytest.raises(KeyError):
            server.ask(question)
        assert asked[0]._socket.fileno() < 0
        connect, made = server._connect, []

        def closing(seconds):
            made.append(connect(seconds))
            server._closed.set()
            return made[-1]

        with server._lock:
            server._drop()
            server._connect = closing
        with contextlib.suppress(PolicyFailed):  # the watcher may be first
            server.ask(lambda line: line.ask([0.5], "", PATIENCE))
        until(lambda: made and all(line._socket.fileno() < 0 for line in made), "it is closed")


def test_attached_too_a_close_at_any_time_is_no_bug_of_the_question(bed, attached):
    port = free_port()
    with running(bed, 1, port):
        server = attached(port, watched=False)
        usable = server._wire.usable
        server._wire.usable = lambda: usable() and server.close() is None
        with pytest.raises(PolicyFailed, match="try again later"):
            server.ask(lambda line: line.ask([0.5], "", PATIENCE))


@pytest.mark.parametrize("error", [ConnectionResetError("it hung up"), ValueError("it hung up")])
def test_attached_to_one_that_does_not_say_what_it_serves_it_is_looked_for(bed, attached, error, caplog):
    port = free_port()
    with running(bed, 1, port):
        server, shown = attached(port), []
        identity = server._identity

        def fails(line):
            shown.append(line)
            raise error

        with server._lock:
            server._drop()
            server._identity = fails
        until(lambda: shown, "it is asked what it serves")
        with pytest.raises(PolicyFailed, match=r"line does not say which model it serves: .*it hung up; try again"):
            server.ask(lambda line: line.ask([0.5], "", PATIENCE))
        assert server.health().state == "recovering"
        assert shown[0]._socket.fileno() < 0
        assert not caplog.records
        server._identity = identity
        until(lambda: server.health() == Health(), "it is back")
        server.close()


def test_nobody_to_attach_to_is_permanent(attached):
    with pytest.raises(LoadFailed, match="no server to attach to: Connection refused") as caught:
        attached(free_port())
    assert caught.value.permanent


def test_both_are_asked_in_the_same_way():
    assert {"open", "ask", "health", "close"} <= set(dir(ChildServer)) & set(dir(AttachedServer))
