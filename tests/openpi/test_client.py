"""The client alone on a stock openpi server: the stand-in, and servers that lie and stall."""

import contextlib
import json
import math
import re
import shlex
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from lying_openpi import CLOSE, TEXT, Liar, frame
from offboard_client import (
    BadMessage,
    BadObservation,
    BadParameter,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    InferTimeout,
    InvalidAction,
    ModelNotFound,
    PolicyFailed,
    ServerChanged,
    wire,
)
from offboard_client.cli import main, synthetic_observation
from offboard_client.play import choose_policy, open_policy
from offboard_client.protocol import Clock, OpenPIProtocol, Settings, Timeouts, parse_address, said_layout
from offboard_client.session import OpenPIOptions
from offboard_client.testing import PolicyConformance
from offboard_core import InferenceServer
from offboard_core.process import free_port
from openpi_standin import openpi_server, write_step
from scripted_server import patient
from waits import until
from websockets.frames import Opcode
from websockets.server import ServerProtocol
from websockets.sync.server import serve

#: Seconds after which a call hangs; decides nothing.
PATIENCE = 240
JOINTS = {"fps": 10.0, "keys": ("state=robot_state.q:7", "prompt=task"), "actions": ("target_joints:7",)}
SEEN = {"robot_state.q": np.arange(7.0), "task": "go"}


def opened(where, **options):
    said = OpenPIOptions(**{**JOINTS, "timeout": PATIENCE, **options})
    return closing(open_policy(choose_policy(f"openpi://{where}"), said, lambda status: None))


def at(liar):
    return f"127.0.0.1:{liar.port}"


def reply(value):
    return {"actions": np.full((2, 7), value), "server_timing": {"infer_ms": 1.5, "prev_total_ms": 9.0}}


def answer(value):
    return frame(reply(value))


def answering(*values):
    def script(peer):
        for value in values:
            peer.hear()
            peer.pong()
            peer.say(answer(value))
        peer.hear()

    return script


def first(rows):
    return rows[0]["action"]["target_joints"][0]


def test_an_exchange():
    with Liar(answering(0.5, 0.75), {"reset_pose": [0, -1.5]}) as liar, opened(at(liar)) as session:
        assert session.metadata["openpi"] == {"reset_pose": [0, -1.5]}
        assert session.metadata["action_fps"] == 10
        rows = session.infer(SEEN)
        assert [row["timestamp"] for row in rows] == [0.0, 0.1]
        np.testing.assert_array_equal(rows[1]["action"]["target_joints"], np.full(7, 0.5))
        assert session.timing.last["server.infer_ms"] == 1.5
        assert first(session.infer(SEEN)) == 0.75
        assert liar.connections == 1


def test_a_server_that_says_why_it_takes_nobody_is_believed():
    """One of offboard's own speaks openpi's protocol, too, and refuses by the reason with which it closes."""
    with (
        InferenceServer({"hold": lambda: dict}, port=0) as server,
        pytest.raises(ModelNotFound, match=r"there is no model 'nope' here; there are: hold"),
        opened(f"{server.host}:{server.port}/?model=nope"),
    ):
        pass
    closing = serve(lambda peer: peer.close(1011, "the arm is being moved"), "127.0.0.1", 0)
    with closing as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"127.0.0.1:{server.socket.getsockname()[1]}"
        with (
            pytest.raises(ConnectionFailed, match=r"closed the connection \(1011 the arm is being moved\) before"),
            opened(where, wait=4),  # the last attempt, which the end of that cuts short, is not what is told
        ):
            pass


@pytest.mark.rule("L-21")
def test_an_inference_may_take_as_long_as_it_is_given():
    """openpi's server answers no ping meanwhile: its own client gives up after 40 s of a first compilation."""
    now, server, limits = [0.0], ServerProtocol(), Timeouts(10, 900, 60, 240, 45, 5, 8)
    settings = Settings(parse_address("gpu-box"), {}, {}, limits, print, None, clock=Clock(now=lambda: now[0]))
    protocol = OpenPIProtocol(settings, "ws://gpu-box:8000/", said_layout(**JOINTS))

    def heard():
        server.receive_data(protocol.outgoing())
        return server.events_received()

    def say(*payloads):
        for payload in payloads:
            server.send_binary(payload)
        protocol.feed(b"".join(server.data_to_send()))

    server.send_response(server.accept(heard()[0]))
    say(b"\x80")
    assert protocol.handshake() is not None
    for _ in range(2):
        observation = b"".join(b"".join(turn) for turn in protocol.ask(SEEN).turns)
        [ping] = heard()
        assert ping.opcode is Opcode.PING
        server.receive_data(observation)
        assert [event.opcode for event in server.events_received()] == [Opcode.BINARY]
        now[0] += 239.0
        assert protocol.tend() == math.inf
        assert not protocol.outgoing()
        assert not protocol.answered
        say(wire.encode(reply(0.25)))
        assert first(protocol.answer()[0]) == 0.25


def test_an_answer_that_is_late_is_nobodys():
    late, heard = threading.Event(), threading.Event()

    def script(peer):
        if liar.connections == 1:
            peer.hear()
            heard.set()
            late.wait(PATIENCE)
            peer.say(answer(0.1))
        else:
            answering(0.2)(peer)

    with Liar(script) as liar, opened(at(liar), timeout=0.3) as session:
        with pytest.raises(InferTimeout, match="will not be used"):
            session.infer(SEEN)
        assert heard.wait(PATIENCE)
        late.set()
        patient(session)
        session.reset()
        assert first(session.infer(SEEN)) == 0.2
        assert liar.connections == 2


@pytest.mark.parametrize("early", [True, False])
def test_an_answer_that_comes_twice_answers_nothing(early):
    said = threading.Event()

    def script(peer):
        if liar.connections == 2:
            return answering(0.3)(peer)
        peer.hear()
        peer.pong()
        peer.say(answer(0.1), *[answer(0.1)] * early)
        said.set()
        peer.hear()
        peer.say(answer(0.1))
        peer.hear()
        return None

    with Liar(script) as liar, opened(at(liar)) as session:
        assert first(session.infer(SEEN)) == 0.1
        assert said.wait(PATIENCE)
        with pytest.raises(ConnectionLost, match=r"not asked for|answered once more"):
            session.infer({**SEEN, "robot_state.q": np.ones(7)})
        assert first(session.infer(SEEN)) == 0.3


@pytest.mark.parametrize(
    ("wrong", "error", "reason"),
    [
        (frame({"actions": np.full((2, 7), np.nan)}), InvalidAction, "not all finite"),
        (frame({"actions": np.zeros((2, 6))}), InvalidAction, r"an array \(2, 6\)"),
        (frame({"actions": np.zeros((0, 7))}), InvalidAction, r"an array \(0, 7\)"),
        (frame({"server_timing": {}}), InvalidAction, "answered None as actions"),
        (frame({"actions": [[0.0] * 7]}), InvalidAction, "as actions; expected one step or more of 7 numbers"),
    ],
)
def test_an_answer_that_cannot_be_played_is_an_error_and_the_session_goes_on(wrong, error, reason):
    def script(peer):
        peer.hear()
        peer.pong()
        peer.say(wrong)
        answering(0.5)(peer)

    with Liar(script) as liar, opened(at(liar)) as session:
        with pytest.raises(error, match=reason):
            session.infer(SEEN)
        assert first(session.infer(SEEN)) == 0.5
        assert liar.connections == 1


OBJECTS = {b"__ndarray__": True, b"data": b"\0" * 56, b"dtype": "|O", b"shape": [1, 7]}
PICKLE = {b"nd": True, b"type": "O", b"kind": b"O", b"shape": [1], b"data": b"\x80\x04N."}
HUGE = {b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [2**40, 7]}


@pytest.mark.parametrize(
    ("wrong", "error", "reason"),
    [
        (frame({"actions": OBJECTS}), BadMessage, r"dtype '\|O' is refused"),
        (frame({"actions": PICKLE}), BadMessage, "its data is a pickle"),
        (frame({"actions": HUGE}), BadMessage, "bytes, and 0 came"),
        (frame(np.zeros((2, 7))), BadMessage, "a ndarray, expected a map"),
        (frame(b"\xc1"), BadMessage, "not a msgpack message"),
        (frame(b"Traceback\n  File\nValueError: no such camera\n", TEXT), PolicyFailed, "ValueError: no such camera"),
        (frame(b"", TEXT), PolicyFailed, "did not say why"),
        (frame(b"\x03\xf3", CLOSE), ConnectionLost, "1011"),
    ],
)
def test_what_cannot_be_understood_costs_the_connection_and_no_more(wrong, error, reason):
    def script(peer):
        if liar.connections == 2:
            return answering(0.5)(peer)
        peer.hear()
        peer.say(wrong)
        return None

    with Liar(script) as liar, opened(at(liar)) as session:
        with pytest.raises(error, match=reason):
            session.infer(SEEN)
        assert first(session.infer(SEEN)) == 0.5
        assert liar.connections == 2


def test_what_cannot_be_sent_costs_nothing():
    with Liar(answering(0.5)) as liar, opened(at(liar)) as session:
        for wrong in ({"robot_state.q": np.full(7, np.inf)}, {"robot_state.q": np.zeros(6)}, {"task": ""}):
            with pytest.raises(BadObservation):
                session.infer({**SEEN, **wrong})
        assert first(session.infer(SEEN)) == 0.5
        assert liar.connections == 1


def test_a_new_episode_opens_a_connection_that_was_lost():
    over = threading.Event()

    def script(peer):
        answering(0.5)(peer) if liar.connections == 2 else over.set()

    with Liar(script) as liar, opened(at(liar)) as session:
        assert over.wait(PATIENCE)
        session._connection._socket.recv(1, 2)  # MSG_PEEK: its end has arrived
        session.reset()
        assert first(session.infer(SEEN)) == 0.5
        session.close()
        for call in (session.reset, lambda: session.infer(SEEN)):
            with pytest.raises(ConnectionLost, match="closed here"):
                call()


@pytest.mark.parametrize("said", [frame(b"ValueError: out of memory", TEXT), frame(b"\xc1")])
def test_a_new_episode_is_not_the_one_in_which_the_server_failed(said):
    told = threading.Event()

    def script(peer):
        if liar.connections == 2:
            return answering(0.5)(peer)
        peer.say(said)
        told.set()
        peer.hear()
        return None

    with Liar(script) as liar, opened(at(liar)) as session:
        assert told.wait(PATIENCE)
        session.reset()
        assert first(session.infer(SEEN)) == 0.5


@pytest.mark.parametrize("wrong", [{"timeout": 0.0}, {"timeout": math.nan}, {"wait": -1.0}])
def test_no_time_at_all(wrong):
    [flag] = wrong
    with pytest.raises(ConfigurationError, match=f"--{flag} is .*; expected seconds"):
        OpenPIOptions(**JOINTS, **wrong)


def test_another_policy_behind_the_address_is_not_played():
    gone = threading.Event()
    with Liar(lambda peer: gone.wait(PATIENCE), {"policy": "one"}) as liar, opened(at(liar)) as session:
        liar._metadata = {"policy": "another"}
        gone.set()
        session._connection._socket.recv(1, 2)
        with pytest.raises(ServerChanged, match="serves something else than before"):
            session.reset()


@pytest.mark.parametrize("metadata", [[1], b"no map", {"odd": b"bytes"}, {"odd": math.nan}])
def test_a_first_message_that_is_no_metadata_is_of_no_such_server(metadata):
    with Liar(lambda peer: None, metadata) as liar, pytest.raises(Exception) as raised:
        opened(at(liar)).__enter__()
    assert raised.value.code == "protocol_error"
    assert at(liar) in str(raised.value)


def test_there_are_no_controls():
    with Liar(answering()) as liar, opened(at(liar)) as session:
        for ask in (session.ping, session.stats, lambda: session.configure(fps=3)):
            with pytest.raises(BadParameter):
                ask()
        with pytest.raises(BadObservation, match="context"):
            session.infer({**SEEN, "offboard.prefix": {"target_joints": np.zeros((1, 7))}})


def test_no_token_of_ours_is_told_to_it(monkeypatch):
    monkeypatch.setenv("OFFBOARD_AUTH_TOKEN", "correct-horse")
    heard = []

    class Overheard(Liar):
        def _serve(self, connection):
            heard.append(connection.recv(65536, 2))
            super()._serve(connection)

    with Overheard(lambda peer: None) as liar, opened(at(liar)):
        pass
    assert b"GET / HTTP/1.1" in heard[0]
    assert b"orization" not in heard[0]
    assert b"correct-horse" not in heard[0]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("openpi", "say where the openpi server is: --policy openpi://HOST:PORT"),
        ("openpi://", "is not an address"),
        ("openpi://gpu-box:8000/api/v1/session/act", "a path of offboard's own servers"),
        ("openpi:gopher://gpu-box", "'gopher' in"),
    ],
)
def test_an_address_that_is_none(policy, reason):
    with pytest.raises(ConfigurationError, match=reason):
        open_policy(choose_policy(policy), OpenPIOptions(**JOINTS), print)


@pytest.fixture(scope="module")
def droid_port(tmp_path_factory):
    step, port = write_step(tmp_path_factory.mktemp("droid") / "7", "droid", value=0.0), free_port()
    with openpi_server(step, port, "pi05_droid"):
        yield port


class TestOnTheStandIn(PolicyConformance):
    name = "openpi"

    @pytest.fixture
    def chosen(self, droid_port):
        return choose_policy(f"openpi://localhost:{droid_port}")

    @pytest.fixture
    def options(self, chosen):
        return chosen.options()(layout="droid")

    def observation(self, meta):
        return synthetic_observation(meta)


@pytest.mark.parametrize(
    ("prompt", "error", "reason"),
    [
        ("raise", PolicyFailed, "ValueError: a bad thing in the middle of the model"),
        ("nan", InvalidAction, "not all finite"),
        ("narrow", InvalidAction, r"an array \(15, 7\)"),
        ("rows 0", InvalidAction, r"an array \(0, 8\)"),
        ("text", PolicyFailed, "an unexpected word"),
        ("twice", None, ""),
    ],
)
def test_a_fault_of_the_policy_is_told_and_the_next_answer_is_its_own(droid_port, prompt, error, reason):
    with opened(f"localhost:{droid_port}", layout="droid", keys=(), actions=(), fps=None) as session:
        seen = synthetic_observation(session.metadata)
        with pytest.raises(error, match=reason) if error else contextlib.nullcontext():
            session.infer({**seen, "task": prompt})
        for velocity in (0.5, -0.5):
            q = np.full(7, velocity)
            with contextlib.suppress(ConnectionLost):  # of the answer that came twice
                assert first_delta(session.infer({**seen, "robot_state.q": q})) == pytest.approx(velocity * 0.2)


def first_delta(rows):
    return rows[0]["action"]["joint_delta"][0]


@pytest.mark.parametrize(
    ("words", "sent"), [(["64"], (64, 64)), (["64", "48"], (48, 64)), (["64", "48", "3"], None), (["0"], None)]
)
def test_a_size_is_one_number_or_two_on_a_command_line(droid_port, words, sent, capsys):
    line = ["check", "sim", "--policy", f"openpi://127.0.0.1:{droid_port}", "--layout", "droid", "--resize", *words]
    assert main(line) == (0 if sent else 1)
    assert sent or "one number, or width and height" in capsys.readouterr().err


PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "drive-openpi.md").read_text("utf-8")
LINES = re.findall(r"^offboard (?:run|check) sim .*openpi://(?:.*\\\n)*.*$", PAGE, re.MULTILINE)


def test_the_page_has_lines():
    assert len(LINES) == 4


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_page_does_what_it_says(line, tmp_path, capsys):
    """On the stand-in of the config that it is about: an arm of 7 joints that is told to stay where it is."""
    droid = "droid" in line
    config, asset = ("pi05_droid", "droid") if droid else ("pi05_positronic_lowmem", "lerobot")
    step, port = write_step(tmp_path / "7", asset, value=0.0, hold=not droid), free_port()
    _, *words = shlex.split(line.replace("\\\n", " ").replace("gpu-box:8000", f"127.0.0.1:{port}"))

    def does():
        status = main([*words, "--json"])
        printed = capsys.readouterr()
        if "real" in words and "nothing of it is left to play" in printed.err:
            return False  # of a busy machine, which answers too late for the arm
        assert status == 0, printed.err
        said = json.loads(printed.out)
        if words[0] == "check":
            assert said["fits"]
            assert said["meta"]["action_fps"] == 15
            return True
        assert not said["failures"]
        assert said["steps"] or "real" in words, "a second by the arm's own clock takes as long as it takes"
        return said["steps"]

    with openpi_server(step, port, config):
        until(does, "it has had time for a step")
