"""The port for LeRobot's robots, with a client of theirs as far as its wire goes."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import struct
import threading
import time
import urllib.request
from typing import Any

import grpc
import numpy as np
import offboard_lerobot
import pytest
from inside_lerobot import Said, native
from inside_lerobot import motors as motors_meta
from lerobot_async import TIME, Client, config, observation
from offboard_client.errors import ConfigurationError, DialectUnsupported, from_code
from offboard_client.wire import WireLimits
from offboard_core import Chunk, CodecEntry, CodecMeta, Field, hookimpl
from offboard_core.frontends import make_listeners
from offboard_core.plugins import Plugins
from offboard_core.server import InferenceServer
from offboard_core.testing import ListenerLaws
from offboard_lerobot.async_inference import make_listener
from offboard_lerobot.async_inference.messages import BEGIN, END, MIDDLE, SERVICE, read_piece, write_data, write_piece
from offboard_lerobot.async_inference.options import RobotClientOptions
from offboard_lerobot.async_inference.payloads import read_instructions
from offboard_lerobot.async_inference.waiting import Crowd, Held, Robot
from puppets import PATIENCE, Door, Puppet, reached, source, until
from robots import get, get_json

pytestmark = pytest.mark.timeout(2 * PATIENCE)
PLUGINS = Plugins.of(lerobot=offboard_lerobot)
ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
AT = {f"{name}.pos": float(number) for number, name in enumerate(ARM, 1)}
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (6,), "names": [*AT]},
    "observation.images.front": {"dtype": "image", "shape": (64, 64, 3), "names": ["height", "width", "channels"]},
}
SEEN = {**AT, "front": PICTURE, "task": "reach"}


@pytest.fixture(autouse=True)
def a_robot_may_be_silent(monkeypatch):
    """A busy machine keeps it from asking for seconds; who is to be gone soon is so by :func:`leaves_soon`."""
    monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)


class TestLaws(ListenerLaws):
    """As all listeners."""

    answer = {"action": np.zeros((1, 2), np.float32)}

    def listener(self):
        return make_listener(RobotClientOptions())

    @contextlib.contextmanager
    def client(self, host, port, token):
        begun = []
        with Client(port, host, token=token) as client:

            def ask():
                try:
                    if not begun:
                        client.start(policy_type="offboard", pretrained_name_or_path="default")
                        begun.append(True)
                    found = client.ask(**{"a.pos": 1.0, "b.pos": 2.0})
                except grpc.RpcError as error:
                    code, _, text = error.details().partition(": ")
                    raise from_code(code, text) from None
                return {"action": np.stack([action.numbers for action in found])}

            yield ask

    def disturb(self, host, port):
        for junk in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01" + bytes(80),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(200),
        ):
            with socket.create_connection((host, port), PATIENCE) as one:
                one.sendall(junk)
        with Client(port, host) as one:
            for name in ("Ready", "SendPolicyInstructions", "GetActions", "Nothing"):
                with contextlib.suppress(grpc.RpcError):
                    one.call(name, b"\xff\xff\xff")
            with pytest.raises(grpc.RpcError):
                one.stream([b"\xff"])


class Codec:
    def __init__(self, meta: CodecMeta) -> None:
        self.meta = meta

    @hookimpl
    def offboard_codecs(self) -> Any:
        yield CodecEntry(name="said", summary="As it is said.", factory=lambda options, checkpoint: Said(self.meta))


def answering(name: str, steps: int = 4) -> Puppet:
    """Answers, from what it sees of ``name``, a tenth more with each step; under ``answer`` if that is given."""
    return Puppet(
        lambda episode, inputs: Chunk(
            {name: np.arange(1, steps + 1, dtype=np.float32)[:, None] / 10 + np.arange(6, dtype=np.float32)}
        )
    )


@contextlib.contextmanager
def serving(policy, meta=None, options=None, models=None, **settings):
    made = models or {"a": lambda: policy}
    sources = source(made) if meta is None else source(made, codec="said", plugin=Codec(meta))
    listeners = make_listeners(PLUGINS, ["lerobot:0"], {"lerobot": options or {}})
    with InferenceServer({"only": sources}, port=0, listeners=listeners, frontends={}, **settings) as server:
        yield server, server.listeners.addresses["lerobot"][1]


@pytest.fixture
def client():
    """Makes clients, and lets go of them."""
    with contextlib.ExitStack() as stack:
        yield lambda port, **more: stack.enter_context(Client(port, **more))


def refused(call, *arguments, **more) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, **more)
    return error.value.code(), error.value.details()


ASKED = {"policy_type": "offboard", "pretrained_name_or_path": "default", "lerobot_features": FEATURES,
         "actions_per_chunk": 50}  # fmt: skip


def leaves_soon(robot: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """From this call on, which takes nothing, it is gone soon if it asks nothing."""
    monkeypatch.setattr(f"{WAITING}._GONE", 0.3)
    refused(robot.stream, [])


def leaves(server: InferenceServer) -> bool:
    """Whether it takes no one any more."""
    try:
        urllib.request.urlopen(f"http://{server.host}:{server.port}/readyz", timeout=PATIENCE).close()
    except OSError:
        return True
    return False


class TestAnswers:
    def test_a_model_with_lerobots_names_gets_what_the_robot_sends(self, client):
        policy = answering("action")
        with serving(policy, native()) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            found = robot.ask(7, **SEEN)
            (given,) = policy.episodes[-1].seen
        assert given.keys() == {"observation.state", "observation.images.front", "task"}
        assert given["observation.state"].dtype == np.float32
        assert given["observation.state"].tolist() == [*AT.values()]
        assert np.array_equal(given["observation.images.front"], PICTURE)
        assert given["task"] == "reach"
        assert [action.timestep for action in found] == [7, 8, 9, 10]
        assert [action.timestamp for action in found] == [TIME + i * (1 / 30) for i in range(4)]
        for step, action in enumerate(found, 1):
            assert action.numbers == pytest.approx(np.arange(6) + step / 10, abs=1e-6)

    def test_motors_are_told_apart_by_their_names(self, client):
        """A model that has them in another order gets its own, and the robot hears its own."""
        turned = ("gripper", *ARM[:5])
        policy = answering("target_motors")
        with serving(policy, motors_meta(turned), {"units": "degrees"}) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            (first, *_) = robot.ask(**SEEN)
            (given,) = policy.episodes[-1].seen
        assert given["motors"].tolist() == [6, 1, 2, 3, 4, 5]
        assert np.array_equal(given["image.front"], PICTURE)
        assert first.numbers == pytest.approx([1.1, 2.1, 3.1, 4.1, 5.1, 0.1])

    def test_a_number_for_each_motor(self, client):
        """As lerobot.motors has them with --codec.scalars."""
        names = [f"{name}.pos" for name in reversed(ARM)]
        meta = CodecMeta(
            observation={name: Field(shape=(1,), dtype="float32") for name in names},
            action={name: Field(shape=(1,)) for name in names},
        )
        policy = Puppet(lambda episode, inputs: Chunk({name: np.array([inputs[name] + 0.5]) for name in names}))
        with serving(policy, meta) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            (only,) = robot.ask(**SEEN)
        assert only.numbers == pytest.approx([value + 0.5 for value in AT.values()])

    def test_as_many_actions_as_the_robot_wants_and_no_more_than_there_are(self, client):
        with serving(answering("action", steps=9), native()) as (_, port):
            for wanted, got in ((1, 1), (8, 8), (9, 9), (100, 9)):
                robot = client(port)
                robot.start(**{**ASKED, "actions_per_chunk": wanted})
                assert [action.timestep for action in robot.ask(3, **SEEN)] == [*range(3, 3 + got)]

    def test_a_large_observation_comes_in_pieces(self, client):
        policy = answering("action")
        with serving(policy, native()) as (_, port):
            for piece in (2**20, 1000, 12_345):
                robot = client(port, piece=piece)
                robot.start(**ASKED)
                assert len(robot.ask(**{**SEEN, "front": PICTURE})) == 4
                assert np.array_equal(policy.episodes[-1].seen[0]["observation.images.front"], PICTURE)

    def test_nothing_is_there_until_something_is(self, client):
        with serving(answering("action"), native()) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            assert robot.poll() is None
            assert robot.ask(**SEEN)
            assert robot.poll() is None, "an answer is heard once"


def test_the_newest_observation_is_answered_next(client):
    """Those between are passed over: what a robot saw while another was being answered is old by then."""
    seen: list[int] = []

    def infer(episode, inputs):
        seen.append(int(inputs["observation.state"][0]))
        return Chunk({"action": np.zeros((1, 6), np.float32)})

    door = Door()
    with serving(Puppet(infer, doors={0: door}), native()) as (_, port), door:
        robot = client(port)
        robot.start(**ASKED)
        for number in (1, 2, 3, 4):
            robot.see(number, **{**SEEN, "shoulder_pan.pos": float(number)})
            reached(door.entered)
        door.open()
        heard = [robot.actions()[0].timestep]
        while heard[-1] != 4:
            heard.append(robot.actions()[0].timestep)
    assert seen == [1, 4]
    assert heard in ([1, 4], [4])


class TestSessions:
    def test_ready_resets_its_own_robot_alone(self, client):
        """LeRobot's server has one policy and one place for all: who comes resets the others."""

        def count(episode, inputs):
            return Chunk({"action": np.full((1, 6), len(episode.seen), np.float32)})

        with serving(Puppet(count), native()) as (_, port):
            one, other = client(port), client(port)
            one.start(**ASKED)
            assert [one.ask(**SEEN)[0].numbers[0] for _ in range(2)] == [1, 2]
            other.start(**ASKED)
            assert other.ask(**SEEN)[0].numbers[0] == 1
            assert one.ask(**SEEN)[0].numbers[0] == 3
            other.start(**ASKED)
            assert one.ask(**SEEN)[0].numbers[0] == 4
            assert other.ask(**SEEN)[0].numbers[0] == 1

    def test_each_drives_the_model_that_it_names(self, client, monkeypatch):
        models = {name: (lambda value=value: Puppet(lambda e, i: Chunk({"action": np.full((1, 6), value, np.float32)})))
                  for name, value in (("first", 1), ("second", 2))}  # fmt: skip
        with serving(None, native(), models=models) as (_, port):
            for name, value in (("second", 2), ("first", 1), ("default", 1)):
                monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)
                with Client(port) as robot:
                    robot.start(**{**ASKED, "pretrained_name_or_path": name})
                    assert robot.ask(**SEEN)[0].numbers[0] == value
                    leaves_soon(robot, monkeypatch)

    def test_who_is_gone_lets_go_of_the_model_soon(self, client, monkeypatch):
        policy = answering("action")
        with serving(policy, native(), {"silence": 100 * PATIENCE}) as (server, port):
            with Client(port) as robot:
                robot.start(**ASKED)
                robot.ask(**SEEN)
                assert get_json(server, "/api/v1/status")["sessions"] == 1
                leaves_soon(robot, monkeypatch)
            until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "the session of who is gone ended")
            assert policy.episodes[-1].closed.wait(PATIENCE)

    def test_who_dies_in_mid_stream_disturbs_nobody(self, client):
        with serving(answering("action"), native()) as (_, port):
            steady = client(port)
            steady.start(**ASKED)
            going, stopped = Client(port), threading.Event()
            going.start(**ASKED)

            def half():
                yield write_piece(BEGIN, b"\x80\x04" + bytes(1000))
                stopped.wait(PATIENCE)

            call = going.channel.stream_unary(f"/{SERVICE}/SendObservations").future(half())
            going.channel.close()
            stopped.set()
            assert call.code() is grpc.StatusCode.CANCELLED
            assert len(steady.ask(**SEEN)) == 4


WAITING = "offboard_lerobot.async_inference.waiting"


def at(number: float) -> dict[str, Any]:
    return {**SEEN, "shoulder_pan.pos": float(number)}


def telling(**more: Any) -> Puppet:
    """Answers where the robot's first joint was."""
    return Puppet(lambda e, i: Chunk({"action": np.full((1, 6), i["observation.state"][0], np.float32)}), **more)


def heard(robot: Client) -> float:
    return robot.actions()[0].numbers[0]


def test_who_cancels_is_not_said_to_have_sent_what_is_wrong(client, monkeypatch, caplog):
    came, stopped = threading.Event(), threading.Event()

    def read(message):
        came.set()
        return read_piece(message)

    monkeypatch.setattr("offboard_lerobot.async_inference.listener.read_piece", read)
    with serving(answering("action"), native()) as (_, port):
        robot = client(port)
        robot.start(**ASKED)

        def half():
            yield write_piece(BEGIN, b"\x80\x04" + bytes(1000))
            stopped.wait(PATIENCE)

        call = robot.channel.stream_unary(f"/{SERVICE}/SendObservations").future(half())
        reached(came)
        call.cancel()
        until(lambda: "was not answered: cancelled: its client gave it up" in caplog.text, "the log says that it went")
        stopped.set()
        assert len(robot.ask(**SEEN)) == 4
    assert "bad_message" not in caplog.text


@pytest.mark.parametrize(
    ("steps", "wanted", "numbers", "stands"),
    [(1, 50, (0, 0, 0), True), (4, 1, (3, 3), True), (1, 50, (0, 1, 2), False), (4, 50, (0, 0, 0), False)],
)
def test_the_log_says_that_a_robot_stands_which_is_answered_one_step(client, caplog, steps, wanted, numbers, stands):
    """LeRobot's client drops it, from the second on, and asks again; it says nothing of it."""
    with serving(answering("action", steps=steps), native()) as (_, port):
        robot = client(port)
        robot.start(**{**ASKED, "actions_per_chunk": wanted})
        for number in numbers:
            assert robot.ask(number, **SEEN)
    assert caplog.text.count(f"asks again and again for step {numbers[-1]} and stands") == stands


class TestNothingOld:
    """What was right to do then is wrong to do now."""

    def test_an_answer_that_was_not_fetched_goes_with_the_session(self, client, monkeypatch):
        policy = telling()
        with serving(policy, native()) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**at(1))
            until(lambda: policy.episodes and policy.episodes[-1].seen, "the first one was answered")
            leaves_soon(robot, monkeypatch)
            reached(policy.episodes[-1].closed)
            monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)
            assert robot.poll() is None
            robot.see(**at(2))
            assert heard(robot) == 2

    def test_an_answer_that_was_not_fetched_for_a_while_is_none(self, client, monkeypatch):
        """Though its client is there: it sends."""
        policy, let_go, came = telling(), threading.Event(), threading.Event()

        def read(message):
            came.set()
            return read_piece(message)

        with serving(policy, native()) as (_, port):
            robot, other = client(port), client(port)
            robot.start(**ASKED)

            def slow():
                yield write_piece(BEGIN, b"\x80\x04")
                let_go.wait(PATIENCE)

            robot.see(**at(1))
            monkeypatch.setattr("offboard_lerobot.async_inference.listener.read_piece", read)
            call = robot.channel.stream_unary(f"/{SERVICE}/SendObservations").future(slow())
            reached(came)
            other.start(**ASKED)
            assert len(other.ask(**at(0))) == 1, "and before it the first one was answered"
            monkeypatch.setattr(f"{WAITING}._GONE", 0.3)
            time.sleep(0.4)
            assert robot.poll() is None
            monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)
            let_go.set()
            call.exception()
            robot.see(**at(2))
            assert heard(robot) == 2

    def test_what_is_answered_after_it_went_is_for_nobody(self, client, monkeypatch, caplog):
        door = Door()
        policy = telling(doors={0: door})
        with serving(policy, native()) as (server, port), door:
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**at(1))
            reached(door.entered)
            robot.see(**at(2))
            leaves_soon(robot, monkeypatch)
            until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "its session ended")
            monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)
            caplog.clear()
            door.open()
            assert robot.poll() is None
            robot.see(**at(3))
            assert heard(robot) == 3
        assert [[seen["observation.state"][0] for seen in one.seen] for one in policy.episodes if one.seen][-1] == [3]
        assert "answered" not in caplog.text

    def test_what_the_one_before_saw_is_not_the_next_ones(self, client, caplog):
        """Neither what the model is asked about nor what waits."""
        door = Door()
        policy = telling(doors={0: door})
        with serving(policy, native()) as (_, port), door:
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**at(1))
            reached(door.entered)
            robot.see(**at(2))
            robot.call("Ready")
            door.open()
            robot.start(**ASKED)
            robot.see(**at(3))
            assert heard(robot) == 3
            assert robot.poll() is None
        assert [[seen["observation.state"][0] for seen in one.seen] for one in policy.episodes if one.seen][-1] == [3]
        assert "answered" not in caplog.text

    def test_an_observation_that_began_before_is_refused(self):
        over = Robot(read_instructions(config()), Held())
        over.over = True
        with pytest.raises(DialectUnsupported, match="start the robot's client anew"):
            over.sees(b"frame", lambda frame, robot: pytest.fail("the model is asked about it"))

    def test_nor_one_of_a_client_that_left(self):
        crowd = Crowd(silence=1.0)
        robot = crowd.begin("one", read_instructions(config()))
        crowd.leave("one")
        with pytest.raises(DialectUnsupported, match="start the robot's client anew"):
            robot.sees(b"frame", lambda frame, robot: pytest.fail("the model is asked about it"))

    def test_an_error_takes_no_answer_away(self, client, caplog):
        with serving(telling(), native()) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**at(1))
            robot.send(b"junk")
            until(lambda: "was answered bad_message" in caplog.text, "both are there")
            assert heard(robot) == 1
            assert refused(robot.actions)[0] is grpc.StatusCode.INVALID_ARGUMENT
            assert robot.poll() is None

    def test_what_was_answered_before_the_end_is_heard(self, client):
        """Though its client sends on: the next one is refused."""
        with Door() as door, contextlib.ExitStack() as stack:
            server, port = stack.enter_context(serving(telling(doors={0: door}), native()))
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**at(1))
            reached(door.entered)
            robot.see(**at(2))
            ending = threading.Thread(target=stack.pop_all().close)
            ending.start()
            until(lambda: leaves(server), "the server leaves")
            door.open()
            assert heard(robot) == 1
            ending.join()


class TestOneConnection:
    """gRPC shares it among the channels of one process."""

    class Shared(Client):
        def __init__(self, port: int) -> None:
            super().__init__(port)
            self.channel.close()
            self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    @pytest.mark.parametrize("name", ["Ready", "SendPolicyInstructions"])
    def test_a_second_client_does_not_take_it_over(self, client, monkeypatch, name):
        monkeypatch.setattr("offboard_lerobot.async_inference.listener._WAIT", PATIENCE)
        policy, asks, answered = telling(), threading.Event(), Robot.answered

        def asked(robot, patience):
            asks.set()
            return answered(robot, patience)

        monkeypatch.setattr(Robot, "answered", asked)
        with serving(policy, native()) as (_, port), self.Shared(port) as one, self.Shared(port) as other:
            one.start(**ASKED)
            found: list[float] = []
            waiting = threading.Thread(target=lambda: found.append(heard(one)))
            waiting.start()
            reached(asks)
            message = write_data(config(**ASKED)) if name != "Ready" else b""
            code, details = refused(other.call, name, message)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert "run this one in a process of its own" in details
            one.see(**at(1))
            waiting.join()
            assert found == [1]
            assert len([episode for episode in policy.episodes if episode.seen]) == 1

    def test_of_two_that_begin_at_once_one_drives(self, client, monkeypatch):
        monkeypatch.setattr("offboard_lerobot.async_inference.listener._WAIT", PATIENCE)
        door, policy = Door(), telling()

        def load():
            door.passing()
            return policy

        message = write_data(config(**ASKED))
        with (
            serving(policy, native(), models={"a": load}, preload=False) as (_, port),
            door,
            self.Shared(port) as one,
            self.Shared(port) as other,
        ):
            one.call("Ready")
            other.call("Ready")
            first = threading.Thread(target=one.call, args=("SendPolicyInstructions", message))
            first.start()
            reached(door.entered)
            assert "a client drives" in refused(other.call, "SendPolicyInstructions", message)[1]
            door.open()
            first.join()
            one.see(**at(1))
            assert heard(one) == 1

    def test_an_observation_that_is_coming_is_somebodys(self, client):
        """It is not put before the model of who begins."""
        data, let_go = observation(**at(1)), threading.Event()
        with serving(telling(), native()) as (_, port):
            robot = client(port)
            robot.start(**ASKED)

            def slow():
                yield write_piece(BEGIN, data[:1000])
                let_go.wait(PATIENCE)
                yield write_piece(END, data[1000:])

            call = robot.channel.stream_unary(f"/{SERVICE}/SendObservations").future(slow())
            assert "a client drives" in refused(self._late, robot)[1]
            let_go.set()
            call.result()
            assert heard(robot) == 1

    @staticmethod
    def _late(robot):
        # It may come before the stream, and then begins first.
        while True:
            robot.call("Ready")
            with contextlib.suppress(grpc.RpcError):
                robot.call("SendPolicyInstructions", write_data(config(**ASKED)))

    def test_a_client_that_begins_anew_does(self, client):
        """In the same process, over the same connection: the one before has closed its channel in mid-call."""
        with serving(telling(), native()) as (_, port), self.Shared(port) as holding:
            with contextlib.suppress(grpc.RpcError):
                holding.call("Nothing")
            for number in (1, 2, 3):
                with self.Shared(port) as robot:
                    robot.start(**ASKED)
                    robot.see(**at(number))
                    assert heard(robot) == number
                    left = robot.channel.unary_unary(f"/{SERVICE}/GetActions").future(b"")
                assert left.code() is grpc.StatusCode.CANCELLED


class TestCrowd:
    """What many robots, and what others, may not do to one."""

    def test_who_has_to_begin_anew_is_told_slowly_and_so_is_the_log(self, client, caplog):
        """LeRobot's client asks again at once, and for ever."""
        with serving(answering("action"), native()) as (server, port):
            robot, began = client(port), time.monotonic()
            assert "start the robot's client anew" in refused(robot.poll)[1]
            assert time.monotonic() - began >= 1
            _, told, _ = get(server, "/metrics")
        assert "start the robot's client anew" in caplog.text
        assert 'offboard_rejected_total{reason="dialect_unsupported"} 1' in told

    def test_who_is_refused_drives_nothing(self, client):
        with serving(answering("action"), native()) as (_, port):
            robot = client(port)
            refused(robot.start, **{**ASKED, "pretrained_name_or_path": "none"})
            assert "has not said which model it drives" in refused(robot.poll)[1]

    def test_who_only_says_ready_is_not_remembered(self, client, monkeypatch):
        monkeypatch.setattr(f"{WAITING}._MOST", 2)
        with serving(answering("action"), native()) as (_, port):
            for _ in range(4):
                client(port).call("Ready")
            client(port).start(**ASKED)

    def test_who_is_gone_makes_room(self, client, monkeypatch):
        monkeypatch.setattr(f"{WAITING}._MOST", 1)
        with serving(answering("action"), native()) as (server, port), contextlib.ExitStack() as stack:
            monkeypatch.setattr("offboard_lerobot.async_inference.listener._WAIT", PATIENCE)
            one, other = stack.enter_context(Client(port)), client(port)
            one.start(**ASKED)
            call = one.channel.unary_unary(f"/{SERVICE}/GetActions").future(b"")
            code, details = refused(other.start, **ASKED)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "knows 1 robots" in details
            monkeypatch.setattr(f"{WAITING}._GONE", 0.2)
            call.cancel()
            until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "its session ended")
            monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)
            other.start(**ASKED)
            assert other.ask(**SEEN)

    def test_who_waits_is_there(self, client, monkeypatch):
        """For longer than one that asks nothing may be silent."""
        monkeypatch.setattr("offboard_lerobot.async_inference.listener._WAIT", PATIENCE)
        policy = telling()
        with serving(policy, native()) as (server, port):
            robot = client(port)
            robot.start(**ASKED)
            call = robot.channel.unary_unary(f"/{SERVICE}/GetActions")

            def stays():
                monkeypatch.setattr(f"{WAITING}._GONE", PATIENCE)
                robot.see(**at(1))
                monkeypatch.setattr(f"{WAITING}._GONE", 0.3)
                call(b"")
                waiting = call.future(b"")  # which on a busy machine may have come too late
                time.sleep(1.0)
                waiting.cancel()
                return get_json(server, "/api/v1/status")["sessions"]

            until(lambda: stays() == 1, "who waits is there")

    def test_whole_observations_count_until_they_are_answered(self, client, monkeypatch):
        monkeypatch.setattr(f"{WAITING}._MOST_HELD", 5 * 2**19)
        door = Door()
        with serving(telling(doors={0: door}), native()) as (_, port), door:
            first, robot = client(port), client(port)
            first.start(**ASKED)
            robot.start(**ASKED)
            first.see(**at(1))
            reached(door.entered)
            for _ in range(2):
                robot.send(bytes(2**20))
            code, details = refused(robot.send, bytes(2**20))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "no room for more observations" in details
            door.open()
            refused(robot.actions)
            for _ in range(4):
                robot.send(bytes(2**20))
                refused(robot.actions)

    def test_one_that_takes_anothers_place_counts_alone(self):
        held, asked = Held(), []
        robot = Robot(read_instructions(config()), held)
        for size in (5, 7, 9):
            robot.sees(bytes(size), lambda frame, robot: asked.append(len(frame)))
        assert (asked, held.size) == ([5], 5 + 9)
        robot.rest()
        assert held.size == 5
        assert not robot.hears(b"", lambda frame, robot: asked.append(len(frame)))
        assert (asked, held.size) == ([5], 0)

    def test_every_call_brings_the_token(self, client):
        with serving(answering("action"), native(), auth_token="secret") as (_, port):
            robot = client(port, token="secret")
            robot.start(**ASKED)
            robot.see(**SEEN)
            robot._metadata = []
            for call in (robot.poll, lambda: robot.see(**SEEN), lambda: robot.start(**ASKED)):
                assert refused(call)[0] is grpc.StatusCode.UNAUTHENTICATED

    def test_the_end_waits_for_what_nobody_has_fetched(self, client, monkeypatch):
        monkeypatch.setattr("offboard_lerobot.async_inference.listener._WAIT", PATIENCE)
        policy = telling()
        with contextlib.ExitStack() as stack:
            _, port = stack.enter_context(serving(policy, native()))
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**at(1))
            until(lambda: policy.episodes[-1].seen, "it is being answered")
            ending = threading.Thread(target=stack.pop_all().close)
            ending.start()
            time.sleep(1.0)
            assert heard(robot) == 1
            ending.join()

    def test_steps_are_as_far_apart_as_the_models(self, client):
        meta = dataclasses.replace(native(), action_fps=10.0)
        with serving(answering("action"), meta) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            assert [action.timestamp for action in robot.ask(**SEEN)] == [TIME + i * 0.1 for i in range(4)]


@pytest.fixture(scope="module")
def served():
    with serving(answering("action"), native()) as (server, port):
        yield server, port


class TestRefused:
    """Each with a status of gRPC's, and a text that LeRobot's client logs."""

    @pytest.mark.parametrize(
        ("change", "code", "says"),
        [
            ({"pretrained_name_or_path": "/models/act"}, "NOT_FOUND", "it is no path, and nothing is fetched by it"),
            ({"pretrained_name_or_path": "../../etc"}, "NOT_FOUND", "there is no model '../../etc'"),
            ({"pretrained_name_or_path": "lerobot/act_aloha"}, "NOT_FOUND", "there is no model 'lerobot/act_aloha'"),
            ({"policy_type": "act"}, "FAILED_PRECONDITION", "a policy of the type act, and a is one of puppet"),
            ({"actions_per_chunk": 0}, "INVALID_ARGUMENT", "bad_parameter: actions_per_chunk is 0"),
            ({"rename_map": {"a": "b"}}, "INVALID_ARGUMENT", "--codec.map"),
            ({"surprise": 1}, "INVALID_ARGUMENT", "has 'surprise', of which nobody here knows"),
            ({"lerobot_features": {}}, "FAILED_PRECONDITION", "observation.images.front, which the robot"),
            (
                {"lerobot_features": {**FEATURES, "observation.state": {"dtype": "float32", "names": ["a.pos"]}}},
                "FAILED_PRECONDITION", "observation.state is (1,) for the robot, (6,) for the model",
            ),
        ],
    )  # fmt: skip
    def test_what_it_asks_for(self, served, client, change, code, says):
        _, port = served
        robot = client(port)
        status, details = refused(robot.start, **{**ASKED, **change})
        assert status is grpc.StatusCode[code]
        assert says in details
        robot.start(**ASKED)
        assert robot.ask(**SEEN), "the next try is as good as the first"

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "bad_message: the pickle is not read"),
            (observation(**{**AT, "front": PICTURE})[:-9], "it is cut off"),
            (config(), "a RemotePolicyConfig came"),
            (observation(**{**SEEN, "gripper.pos": None}), "'gripper.pos' is None"),
            (observation(**{**SEEN, "gripper.pos": "open"}), "lists gripper.pos among its motors, and sent a str"),
            (
                observation(**{**SEEN, "gripper.pos": float("nan")}),
                "bad_observation: gripper.pos is nan, no finite number",
            ),
            (observation(**{**SEEN, "front": 3}), "lists the camera front, and sent a int"),
            (observation(**AT), "lists the camera front, and sent nothing"),
            (
                observation(**{**SEEN, "front": PICTURE.astype(np.float32)}),
                "observation.images.front has dtype float32",
            ),
            (observation(**{**SEEN, "front": PICTURE[..., 0]}), "observation.images.front has shape (64, 64)"),
        ],
    )
    def test_what_it_sees(self, served, client, data, says):
        """It is told when it asks for actions, once; and the next observation is answered."""
        _, port = served
        robot = client(port)
        robot.start(**ASKED)
        robot.send(data)
        status, details = refused(robot.actions)
        assert status is grpc.StatusCode.INVALID_ARGUMENT
        assert says in details
        assert robot.poll() is None
        assert robot.ask(**SEEN)

    @pytest.mark.parametrize(
        ("pieces", "says"),
        [
            ([], "ended before its last piece"),
            ([(BEGIN, b"a")], "ended before its last piece"),
            ([(MIDDLE, b"a"), (END, b"b")], "not in order"),
            ([(BEGIN, b"a"), (BEGIN, b"b"), (END, b"c")], "not in order"),
            ([(0, b"a")], "not in order"),
            ([(7, b"a")], "not in order"),
            ([(BEGIN, b"a"), (MIDDLE, b"")], "is empty"),
            (
                [(BEGIN, bytes(2**20))] + [(MIDDLE, bytes(2**20))] * 40,
                f"has {WireLimits().message_bytes:,} bytes at most",
            ),
        ],
    )
    def test_pieces_that_make_no_observation(self, served, client, pieces, says):
        _, port = served
        robot = client(port)
        robot.start(**ASKED)
        status, details = refused(robot.stream, [write_piece(*piece) for piece in pieces])
        assert status is grpc.StatusCode.INVALID_ARGUMENT
        assert says in details
        assert robot.ask(**SEEN)

    def test_an_empty_observation(self, served, client):
        _, port = served
        robot = client(port)
        robot.start(**ASKED)
        assert refused(robot.stream, [write_piece(END, b"")])[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert robot.ask(**SEEN)

    def test_who_has_not_begun(self, served, client):
        _, port = served
        robot = client(port)
        for call in (lambda: robot.see(**SEEN), robot.poll):
            status, details = refused(call)
            assert status is grpc.StatusCode.FAILED_PRECONDITION
            assert "start the robot's client anew" in details
        robot.call("Ready")
        assert refused(robot.poll)[0] is grpc.StatusCode.FAILED_PRECONDITION

    @pytest.mark.parametrize(
        ("message", "says"),
        [(message, "") for message in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05a", b"\x0f", b"\x08\x01")]
        # Each field is a round of Python on the event loop.
        + [(b"x" * 300_000, "has 300,000 bytes"), (b"\x18\0" * 100_000, "more than 16 fields")],
    )
    def test_messages_that_are_none(self, served, client, message, says):
        _, port = served
        robot = client(port)
        robot.call("Ready")
        status, details = refused(robot.call, "SendPolicyInstructions", message)
        assert status is grpc.StatusCode.INVALID_ARGUMENT
        assert "bad_message" in details
        assert says in details
        robot.start(**ASKED)
        assert robot.ask(**SEEN)

    def test_a_message_larger_than_any_piece_never_comes_up(self, served, client):
        _, port = served
        robot = client(port)
        robot.start(**ASKED)
        assert refused(robot.stream, [write_piece(END, bytes(5 * 2**20))])[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert robot.ask(**SEEN)

    def test_what_is_compressed_is_not_opened(self, served, client):
        """A gigabyte of nothing is a megabyte when it is sent."""
        _, port = served
        robot = client(port)
        call = robot.channel.unary_unary(f"/{SERVICE}/SendPolicyInstructions")
        code, _ = refused(call, write_data(bytes(3 * 2**20)), timeout=PATIENCE, compression=grpc.Compression.Gzip)
        assert code is grpc.StatusCode.UNIMPLEMENTED
        robot.start(**ASKED)

    def test_no_more_calls_at_a_time_than_a_robot_needs(self, served, client):
        """The others wait in the client; and only one observation comes at a time."""
        _, port = served
        robot, let_go = client(port), threading.Event()
        robot.start(**ASKED)

        def slow():
            yield write_piece(BEGIN, b"\x80\x04")
            let_go.wait(PATIENCE)

        stream = robot.channel.stream_unary(f"/{SERVICE}/SendObservations")
        calls = [stream.future(slow()) for _ in range(2)]
        try:
            until(lambda: any(call.done() for call in calls), "the second one was refused")
            (late,) = [call for call in calls if call.done()]
            assert "is being sent already" in late.details()
        finally:
            let_go.set()


@pytest.mark.parametrize(
    ("name", "messages"),
    [("SendObservations", [write_piece(BEGIN, b"\x80\x04")]), ("SendObservations", []), ("SendPolicyInstructions", [])],
)
def test_what_never_comes_whole_is_not_waited_for(client, monkeypatch, name, messages):
    with serving(answering("action"), native()) as (_, port):
        robot, let_go = client(port), threading.Event()
        robot.start(**ASKED)
        monkeypatch.setattr("offboard_lerobot.async_inference.listener._PATIENCE", 0.3)

        def slow():
            yield from messages
            let_go.wait(PATIENCE)

        call = robot.channel.stream_unary(f"/{SERVICE}/{name}").future(slow())
        assert "did not come whole" in call.exception(PATIENCE).details()
        let_go.set()
        monkeypatch.undo()  # on a busy machine what comes whole takes its time as well
        robot.start(**ASKED)
        assert robot.ask(**SEEN)


def test_what_nobody_reads_is_not_taken(client):
    """By itself gRPC goes on taking it, faster and faster: a gigabyte in some seconds."""
    with serving(answering("action"), native()) as (_, port):
        robot, taken = client(port), [0, 0]
        robot.start(**ASKED)

        def endless(number):
            while taken[number] < 2000:
                taken[number] += 1
                yield bytes(2**20)

        calls = robot.channel.stream_unary(f"/{SERVICE}/GetActions")
        for call in [calls.future(endless(number), timeout=PATIENCE) for number in range(2)]:
            call.result()
        assert max(taken) < 4


def test_a_models_unit_has_to_be_the_robots(client):
    for options, says in (
        ({}, "serve with --lerobot.units degrees if that is so"),
        ({"units": "range"}, "motors is in range for the robot, in degrees; the gripper 0 to 100 for the model"),
    ):
        with serving(answering("target_motors"), motors_meta(), options) as (_, port):
            code, details = refused(client(port).start, **ASKED)
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            assert says in details


def test_as_many_motors_of_other_names_are_refused_before_it_moves(client):
    names = (*ARM[:5], "wheel")
    meta = dataclasses.replace(
        motors_meta(names), observation=native().observation, conventions={"motors": ", ".join(names)}
    )
    with serving(answering("target_motors"), meta, {"units": "degrees"}) as (_, port):
        _, details = refused(client(port).start, **ASKED)
    assert "gripper.pos, the model answers target_motors (6) of" in details


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ({"target_pose": Field(shape=(7,)), "target_grip": Field(shape=(1,))}, "the model answers target_pose (7)"),
        ({"target_joints": Field(shape=(6,))}, "the model answers target_joints (6)"),
        ({"shoulder_pan.pos": Field(shape=(1,))}, "the model answers shoulder_pan.pos (1)"),
        # By its name alone the second of two numbers would be the next motor's.
        (
            {name: Field(shape=(2 if name == "shoulder_pan.pos" else 1,)) for name in AT},
            "the model answers shoulder_pan.pos (2)",
        ),
        # LeRobot's client would play six of seven without a word.
        ({"action": Field(shape=(7,))}, "gripper.pos, the model answers action (7)"),
        ({"action": Field(shape=(5,))}, "gripper.pos, the model answers action (5)"),
    ],
)
def test_what_a_robot_does_not_play_is_refused_before_it_moves(client, action, says):
    with serving(answering("action"), CodecMeta(observation=native().observation, action=action)) as (_, port):
        code, details = refused(client(port).start, **ASKED)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert says in details


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda e, i: Chunk({"action": np.full((2, 6), np.nan)}), "not finite"),
        (lambda e, i: Chunk({"action": np.full((2, 6), 1e300)}), "float32"),
        (lambda e, i: Chunk({"action": np.zeros((0, 6))}), "the model says stop"),
        *(
            (
                lambda e, i, times=times: Chunk({"action": np.zeros((len(times), 6))}, np.array(times)),
                "looks at no times",
            )
            for times in ([0.5, 0.6, 0.7], [0.0, 0.1, 0.4], [0.5])
        ),
        (lambda e, i: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_no_robot_may_hear_is_an_error(client, caplog, answer, says):
    """It is in the log, too: LeRobot's client goes on without a word."""
    with serving(Puppet(answer), native()) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        robot.see(**SEEN)
        _, details = refused(robot.actions)
    assert says in details
    assert any(says in record.getMessage() and "was answered" in record.getMessage() for record in caplog.records)


def test_a_models_own_times_are_those_of_its_steps(client, monkeypatch):
    """Within a tenth of a step; those of another rate than it is served with are an error."""
    slow = Puppet(lambda e, i: Chunk({"action": np.zeros((3, 6))}, np.array([0.0, 0.101, 0.2])))
    with serving(slow, native()) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        assert [action.timestamp - TIME for action in robot.ask(**SEEN)] == pytest.approx([0, 0.1, 0.2], abs=1e-6)
    monkeypatch.setattr(Said, "decode", lambda codec, chunk, observation: chunk)  # which leaves the times as they are
    with serving(slow, dataclasses.replace(native(), action_fps=20.0)) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        robot.see(**SEEN)
        assert "at the 20 a second that it is served with" in refused(robot.actions)[1]


def test_a_model_that_has_nothing_new_says_nothing(client):
    with serving(Puppet(lambda episode, inputs: None), native()) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        robot.see(**SEEN)
        assert robot.poll() is None


def test_a_model_that_declares_nothing_gets_lerobots_names(client):
    policy = answering("action")
    with serving(policy) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        robot.ask(**SEEN)
        assert policy.episodes[-1].seen[0].keys() == {"observation.state", "observation.images.front", "task"}
        few = client(port)
        few.start(policy_type="offboard", pretrained_name_or_path="default")
        few.see(**{"a.pos": 1.0, "b.pos": 2.0})
        assert "6 numbers, and the robot plays 2" in refused(few.actions)[1]


class TestOtherActions:
    """A robot whose action_features are others than it measures, which only who serves can say."""

    DRIVE = ("linear_velocity", "angular_velocity")

    def test_as_many_are_played_as_it_is_said_to_play(self, client):
        meta = dataclasses.replace(native(), action={"action": Field(shape=(2,))})
        drive = Puppet(lambda e, i: Chunk({"action": np.float32([[0.5, -0.25]])}))
        with serving(drive, meta) as (_, port):
            _, details = refused(client(port).start, **ASKED)
            assert "the names of the robot's action_features in order" in details
        with serving(drive, meta, {"actions": self.DRIVE}) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            (only,) = robot.ask(**SEEN)
        assert only.numbers.tolist() == [0.5, -0.25]

    @pytest.mark.parametrize("vector", [True, False])
    def test_they_are_told_apart_by_their_names(self, client, vector):
        """In the order of the robot, whatever the model's is."""
        turned, columns = self.DRIVE[::-1], np.float32([[0.5, -0.25]])
        if vector:
            meta = dataclasses.replace(
                native(), action={"target_motors": Field(shape=(2,))}, conventions={"motors": ", ".join(turned)}
            )
            answer = Chunk({"target_motors": columns})
        else:
            meta = dataclasses.replace(native(), action={name: Field(shape=(1,)) for name in turned})
            answer = Chunk({name: columns[:, at : at + 1] for at, name in enumerate(turned)})
        with serving(Puppet(lambda e, i: answer), meta, {"actions": self.DRIVE}) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            (only,) = robot.ask(**SEEN)
        assert only.numbers.tolist() == [-0.25, 0.5]

    def test_what_else_a_model_answers_is_refused(self, client):
        with serving(answering("action"), native(), {"actions": self.DRIVE}) as (_, port):
            assert (
                "plays linear_velocity, angular_velocity, the model answers action (6)"
                in refused(client(port).start, **ASKED)[1]
            )
        undeclared = dataclasses.replace(native(), action={"action": Field()})
        with serving(answering("action"), undeclared, {"actions": self.DRIVE}) as (_, port):
            robot = client(port)
            robot.start(**ASKED)
            robot.see(**SEEN)
            assert "6 numbers, and the robot plays 2" in refused(robot.actions)[1]

    @pytest.mark.parametrize("actions", [("a", "a"), ("",), ("a\n",)])
    def test_names_are_names(self, actions):
        with pytest.raises(ValueError, match="expected each name once"):
            RobotClientOptions(actions=actions)


def test_a_width_that_no_model_declares_is_held_against_the_motors(client):
    meta = dataclasses.replace(native(), action={"action": Field()})
    with serving(Puppet(lambda e, i: Chunk({"action": np.zeros((2, 7))})), meta) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        robot.see(**SEEN)
        assert "7 numbers, and the robot plays 6" in refused(robot.actions)[1]


def test_a_model_that_declares_nothing_is_given_no_nonsense(client):
    policy = answering("action")
    with serving(policy) as (_, port):
        robot = client(port)
        robot.start(**ASKED)
        for change, says in (
            ({"gripper.pos": float("nan")}, "gripper.pos is nan"),
            ({"gripper.pos": np.float32("-inf")}, "gripper.pos is -inf"),
            ({"gripper.pos": np.array([np.nan])}, "gripper.pos is nan"),
            ({"gripper.pos": 1e300}, "gripper.pos is 1e+300, no finite number in float32"),
            ({"front": np.full((4, 4, 3), np.nan, np.float32)}, "the picture of the camera front"),
            ({"task": 3.0}, "task is a float, expected the instruction as text"),
            ({"task": PICTURE.copy()}, "task is a ndarray"),
        ):
            robot.see(**{**SEEN, **change})
            assert says in refused(robot.actions)[1]
        assert not any(episode.seen for episode in policy.episodes)
        assert robot.ask(**SEEN)


def test_a_robot_waits_for_its_model_however_long_that_takes(client):
    """Longer than it may be silent: it is not, it waits."""
    door, policy = Door(), answering("action")

    def load():
        door.passing()
        return policy

    with serving(policy, native(), {"silence": 0.2}, {"a": load}, preload=False) as (_, port), door:
        robot, begun = client(port), threading.Event()

        def begin():
            robot.start(**ASKED)
            begun.set()

        thread = threading.Thread(target=begin)
        thread.start()
        reached(door.entered)
        assert not begun.wait(1.0)
        door.open()
        reached(begun)
        thread.join()


def test_who_sends_no_token_is_told_that_its_client_cannot(client, caplog):
    with serving(answering("action"), native(), auth_token="secret") as (_, port):
        assert any("robot_client has no way to send one" in record.getMessage() for record in caplog.records)
        assert refused(client(port).call, "Ready")[0] is grpc.StatusCode.UNAUTHENTICATED
        code, details = refused(client(port).call, "SendPolicyInstructions", write_data(config(**ASKED)))
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert "robot_client has no way to send one" in details
        robot = client(port, token="secret")
        robot.start(**ASKED)
        assert robot.ask(**SEEN)


def test_a_connection_that_says_nothing_keeps_no_descriptor(client):
    """Beyond so many gRPC takes none; those that are there go on."""
    with serving(answering("action"), native()) as (_, port), contextlib.ExitStack() as stack:
        robot = client(port)
        robot.start(**ASKED)
        for _ in range(50):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert robot.ask(**SEEN)


def test_without_grpc_it_says_what_to_install(monkeypatch):
    import sys

    for name in [
        name for name in sys.modules if name.startswith(("grpc", "offboard_lerobot.async_inference.listener"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigurationError, match=re.escape("pip install 'offboard-lerobot[grpc]'")):
        make_listener(RobotClientOptions())
