"""PathOn-AI's protocol: its client as it is, any model, and one step for each question."""

import time
from dataclasses import dataclass

import msgpack
import numpy as np
import pytest
from frames import binary
from offboard_client.plugins import changeable
from offboard_core import Chunk, Field
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from offboard_lerobot.pathon import frontend as pathon
from offboard_lerobot.pathon.options import PathOnOptions
from offboard_lerobot.pathon.outline import MOST_BYTES, texts_of
from offboard_lerobot.pathon.steps import Steps
from pathon_client import Failed, PathOnClient, Tensor, packed
from puppets import PATIENCE, Door, Puppet, reached, source
from robots import connect_to, get_json
from waits import until
from websockets.exceptions import InvalidStatus

INPUTS = {
    "observation.state": Field(shape=(6,), dtype="float32"),
    "observation.images.phone": Field(shape=(-1, -1, 3), dtype="uint8"),
}
OUTPUTS = {"action": Field(shape=(6,), dtype="float32")}
#: What LeRobot's robots of that time captured, as numpy, with the task as a batch of one.
SEEN = {
    "observation.state": np.arange(6, dtype=np.float32),
    "observation.images.phone": np.full((48, 64, 3), 7, np.uint8),
    "task": ["grasp the cube"],
}


def counted(episode, inputs):
    """Three steps: 1.0, 1.1, 1.2 of the first answer of an episode, 2.0 … of the second."""
    steps = len(episode.seen) + np.arange(3)[:, None] / 10
    return Chunk(np.repeat(steps, 6, axis=1).astype(np.float32))


def serving(policy=None, options=None, make=None, **more):
    models = source({"a": make or (lambda: policy or Puppet(counted))}, inputs=INPUTS, outputs=OUTPUTS)
    frontends = {"/pathon": pathon.PathOnFrontend(options or PathOnOptions(stale_after=PATIENCE))}
    return InferenceServer({"only": models}, port=0, frontends=frontends, **more)


def url(server, query=""):
    return f"ws://{server.host}:{server.port}/pathon{query}"


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def door():
    with Door() as made:
        yield made


def values(client, count, seen=SEEN):
    return [round(float(client.select_action(seen)[0, 0]), 1) for _ in range(count)]


# -- one step for each question ------------------------------------------------------------------------------------
def test_its_client_plays_an_answer_step_by_step_and_then_asks_again():
    policy = Puppet(counted)
    with serving(policy) as server, PathOnClient(url(server)) as client:
        action = client.select_action(SEEN)
        assert (action.shape, action.dtype) == ((1, 6), np.float32)
        assert values(client, 3) == [1.1, 1.2, 2.0]
        assert len(policy.batches) == 2
        seen = policy.episodes[0].seen[0]
        assert seen["task"] == "grasp the cube"
        assert np.array_equal(seen["observation.images.phone"], SEEN["observation.images.phone"])
        assert np.array_equal(seen["observation.state"], SEEN["observation.state"])


def test_a_reset_ends_the_episode_and_what_was_left_of_its_answer(server):
    with PathOnClient(url(server)) as client:
        assert client.reset()
        assert values(client, 2) == [1.0, 1.1]
        assert client.ping()
        assert client.reset()
        assert values(client, 1) == [1.0]


def test_another_task_asks_the_model(server):
    with PathOnClient(url(server)) as client:
        assert client.reset()
        assert values(client, 2) == [1.0, 1.1]
        assert values(client, 1, {**SEEN, "observation.state": np.ones(6, np.float32)}) == [1.2]
        assert client.reset()
        assert values(client, 2) == [1.0, 1.1]
        other = {**SEEN, "task": ["put it back"]}
        assert values(client, 2, other) == [2.0, 2.1]
        assert values(client, 1, {name: value for name, value in SEEN.items() if name != "task"}) == [3.0]


@pytest.mark.parametrize("name", ["prompt", "instruction", "goal", "annotation.human.task_description"])
@pytest.mark.parametrize("listed", [True, False])
def test_another_text_by_whatever_name_asks_the_model(server, name, listed):
    """Names that mean the task, and a model's own."""
    seen = {key: value for key, value in SEEN.items() if key != "task"}

    def said(text):
        return {**seen, name: [text] if listed else text}

    with PathOnClient(url(server)) as client:
        assert client.reset()
        assert values(client, 2, said("grasp")) == [1.0, 1.1]
        assert values(client, 1, said("put it back")) == [2.0]
        assert values(client, 1, said("put it back")) == [2.1]


def test_an_observation_whose_name_is_packed_otherwise_is_not_told_at_a_glance():
    frame = msgpack.packb({"type": "select_action", "observation": {"task": "go"}})
    assert texts_of(frame) is not None
    assert texts_of(frame.replace(b"\xabobservation", b"\xd9\x0bobservation")) is None
    assert texts_of(frame.replace(b"\xa4task", b"\xd9\x04task")) not in (None, texts_of(frame))


@pytest.mark.parametrize("spoil", [lambda frame: frame[:-1], lambda frame: frame + b"\xc0", lambda frame: frame[:20]])
def test_what_is_no_whole_message_is_answered_no_step(server, spoil):
    frame = msgpack.packb({"type": "select_action", "observation": SEEN}, default=packed)
    with PathOnClient(url(server)) as client:
        assert client.reset()
        assert values(client, 1) == [1.0]
        client.socket.send(spoil(frame))
        assert msgpack.unpackb(client.socket.recv(timeout=PATIENCE))["type"] == "error"
        assert values(client, 1) == [2.0]


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, 127, 128, 2**16, 2**32, 2**63, -1, -33, -200, -(2**20), -(2**40), 1.5, "", "x" * 31, "x" * 40,
        "x" * 300, "x" * 70_000, b"", b"x" * 300, b"x" * 70_000, [], [1] * 15, [1] * 20, [[1, [2]]] * 300,
        {str(n): n for n in range(20)}, {"a": {"b": [1, {"c": b"d"}]}}, msgpack.ExtType(5, b"x"),
        *(msgpack.ExtType(5, b"x" * n) for n in (2, 3, 4, 8, 16, 300, 70_000)),
    ],
)  # fmt: skip
def test_a_task_is_found_whatever_is_beside_it(value):
    for first in (True, False):
        beside = {"x": value, "task": ["go"]} if first else {"task": ["go"], "x": value}
        frame = msgpack.packb({"type": "select_action", "observation": beside, "timestamp": 1.5})
        texts = [msgpack.packb("task") + msgpack.packb(["go"])]
        if isinstance(value, str):
            texts.append(msgpack.packb("x") + msgpack.packb(value))
        found = b"".join(texts if not first else texts[::-1])
        assert texts_of(frame) == (found if len(found) <= MOST_BYTES else None)
        assert texts_of(frame[:-1]) is None
        assert texts_of(frame + b"\xc0") is None
    if not isinstance(value, str):
        assert texts_of(msgpack.packb({"type": "select_action", "observation": {"x": value}})) == b""


def test_what_takes_long_to_look_through_is_not_looked_through():
    def message(**observation):
        return msgpack.packb({"type": "select_action", "observation": observation})

    assert texts_of(message(task="x" * 5000)) is None
    assert texts_of(message(x=[1] * 10_000, task="x")) is None
    assert texts_of(b"\x81\xabobservation\xdf\xff\xff\xff\xff") is None
    assert texts_of(b"\x81\xa1x" + b"\x91" * 10**6 + b"\xc0") is None
    for wrong in (b"", b"\xc1", b"\x81\xabobservation\x91\xc0", b"\x81\xc1\xc0", b"\x81\xa1x\xc6\xff\xff\xff\xff"):
        assert texts_of(wrong) is None, wrong


def test_two_robots_share_no_answer(server):
    with PathOnClient(url(server)) as one, PathOnClient(url(server)) as other:
        assert values(one, 2) == [1.0, 1.1]
        assert values(other, 1) == [1.0]
        assert values(one, 2) == [1.2, 2.0]
        assert values(other, 1) == [1.1]


def test_as_many_steps_are_played_as_the_option_says():
    with serving(options=PathOnOptions(steps=2, stale_after=PATIENCE)) as server, PathOnClient(url(server)) as client:
        assert values(client, 3) == [1.0, 1.1, 2.0]


def test_arrays_come_as_torchs_tensors_too(server):
    policy = Puppet(counted)
    tensors = {name: Tensor(value, "cuda:0") if name != "task" else value for name, value in SEEN.items()}
    with serving(policy) as server, PathOnClient(url(server)) as client:
        assert values(client, 1, tensors) == [1.0]
    seen = policy.episodes[0].seen[0]["observation.state"]
    assert np.array_equal(seen, SEEN["observation.state"])


def test_an_answer_says_what_it_took(server):
    with PathOnClient(url(server)) as client:
        asked, queued = (client.ask({"type": "select_action", "observation": SEEN})["timing"] for _ in range(2))
    names = {"parse_ms", "inference_ms", "serialize_ms", "total_ms"}
    assert asked.keys() == queued.keys() == names | {"age_ms"}
    assert asked["total_ms"] >= asked["inference_ms"] > 0
    assert sum(asked[name] for name in names - {"total_ms"}) == pytest.approx(asked["total_ms"])
    assert queued["inference_ms"] == 0 < asked["age_ms"] <= queued["age_ms"]


def test_what_else_its_clients_may_ask(server):
    with PathOnClient(url(server)) as client:
        values(client, 2)
        said = client.ask({"type": "get_stats", "timestamp": 1.5})
        assert (said["type"], said["status"]) == ("stats_response", "success")
        assert (said["stats"]["steps"], said["stats"]["queued"], said["stats"]["from_queue"]) == (1, 1, 1)
        assert client.ask({"type": "ping", "timestamp": 1.5}) == {"type": "pong", "status": "pong"}
        with pytest.raises(Failed, match="nothing that can be changed"):
            client.ask({"type": "configure", "speed": 2})


def test_what_is_configured_holds_from_the_next_question_on():
    @dataclass(frozen=True)
    class Params:
        speed: float = changeable(1.0)

    def fast(episode, inputs):
        return Chunk(np.full((3, 6), episode.params.speed))

    with serving(Puppet(fast, params=Params)) as server, PathOnClient(url(server)) as client:
        assert values(client, 2) == [1.0, 1.0]
        said = client.ask({"type": "configure", "speed": 2.5, "timestamp": 1.5})
        assert said == {
            "type": "configure_response", "status": "success", "changed": {"speed": {"old": 1.0, "new": 2.5}},
        }  # fmt: skip
        assert values(client, 1) == [2.5]
        with pytest.raises(Failed, match="speed"):
            client.ask({"type": "configure", "spede": 2.5})
        assert values(client, 1) == [2.5]


def test_a_token_is_a_password_in_its_url():
    with serving(auth_token="t0ken") as server:
        with PathOnClient(url(server).replace("//", "//robot:t0ken@")) as client:
            assert values(client, 1) == [1.0]
        with pytest.raises(InvalidStatus, match="401"), PathOnClient(url(server)):
            pass


def test_every_server_speaks_it_where_the_package_is():
    models = source({"a": lambda: Puppet(counted), "b": Puppet}, inputs=INPUTS, outputs=OUTPUTS)
    with InferenceServer({"only": models}, port=0) as server:
        with PathOnClient(url(server, "?model=a")) as client:
            assert values(client, 1) == [1.0]
        with pytest.raises(Failed, match="twice"), PathOnClient(url(server, "?model=a&model=b")) as client:
            client.select_action(SEEN)


# -- no stale step -------------------------------------------------------------------------------------------------
ROWS = [np.float32([i]) for i in range(4)]


def test_a_step_is_not_played_long_after_its_time():
    steps = Steps(stale_after=1.0)
    assert steps.fill(ROWS, [0.0, 0.1, 0.2, 0.3], observed=9.0, now=10.0) == 0
    assert steps.next(10.9) == 1, "0.8 s late"
    assert steps.next(11.15) == 2
    assert steps.next(11.35) is None, "1.05 s late"
    assert not len(steps)
    assert steps.next(11.36) is None


def test_a_robot_that_was_ahead_of_what_is_due_and_stopped_plays_no_step_of_before():
    """Its step is due still, and belongs to what it saw before it stopped."""
    steps = Steps(stale_after=1.0)
    times = [at / 10 for at in range(100)]
    steps.fill([*range(100)], times, observed=9.0, now=10.0)
    assert [steps.next(10.0 + at / 40) for at in range(1, 81)] == [*range(1, 81)], "four times as fast"
    assert steps.next(18.0) is None, "81 is due at 18.1, and was to follow at 12.1"
    steps.fill([*range(100)], times, observed=19.0, now=20.0)
    assert [steps.next(20.0 + at) for at in (0.02, 1.1)] == [1, 2], "a step and a second after the last one"
    assert steps.next(22.3) is None


def test_a_robot_that_asks_in_time_plays_the_whole_answer_however_long_it_took():
    steps = Steps(stale_after=0.1)
    steps.fill(ROWS, [0.5, 0.6, 0.7, 0.8], observed=0.0, now=10.0)
    assert [steps.next(10.0 + at) for at in (0.1, 0.2, 0.3)] == [1, 2, 3]
    assert steps.next(10.4) is None
    steps.fill(ROWS, [0.5, 0.6, 0.7, 0.8], observed=0.0, now=20.0)
    assert steps.next(20.25) is None, "0.15 s late, counted from the answer"


def test_of_an_answer_that_is_late_nothing_is_left():
    steps = Steps(stale_after=1.0)
    for times in ([0.0, 0.1, 0.2, 9.0], None):
        steps.fill(ROWS, times, observed=9.0, now=10.0)
        assert steps.next(15.0) is None
        assert not len(steps)


def test_without_times_a_step_may_not_follow_late_on_the_one_before():
    steps = Steps(stale_after=1.0)
    steps.fill(ROWS, None, observed=9.0, now=10.0)
    assert steps.next(10.9) == 1
    assert steps.next(11.8) == 2
    assert steps.next(12.9) is None
    assert not len(steps)


@pytest.mark.parametrize("query", ["", "?codec.fps=25"])
def test_a_robot_that_comes_back_late_is_answered_of_what_it_sees_now(query):
    """However long ago: here a step's time is over at once."""
    policy = Puppet(counted)
    options = PathOnOptions(stale_after=0.0)
    with serving(policy, options) as server, PathOnClient(url(server, query)) as client:
        assert values(client, 1) == [1.0]
        answered = time.monotonic()
        until(lambda: time.monotonic() > answered + 0.05, "the time of the second row is over")
        assert values(client, 1) == [2.0]


# -- what is wrong -------------------------------------------------------------------------------------------------
def observed(**changes):
    return {"type": "select_action", "observation": {**SEEN, **changes}}


BAD = [
    ("text", "text frame"),
    (b"", "cut short"),
    (b"\xc1", "msgpack"),
    (msgpack.packb([1, 2]), "map"),
    ({"type": "close_gripper"}, "close_gripper"),
    ({"observation": SEEN}, "type"),
    ({"type": 3}, "type"),
    ({"type": "select_action"}, "observation"),
    ({"type": "select_action", "observation": [1]}, "map"),
    ({"type": "select_action", "observation": SEEN, "model_config": {"action_horizon": 16}}, "model_config"),
    ({"type": "select_action", "observation": {b"x": 1}}, "strings"),
    ({"type": "reset", "seed": 3}, "seed"),
    ({"type": "reset", "x": "y" * 600}, "512"),
    ({"type": "x" * 40 + "\x1b[31m"}, "type"),
    (observed(task=["a", "b"]), "one text"),
    (observed(task=[3]), "one text"),
    (observed(task=7), "task"),
    (observed(**{"observation.state": np.zeros(5, np.float32)}), "observation.state"),
    (observed(**{"observation.state": np.full(6, np.nan, np.float32)}), "observation.state"),
    (observed(**{"observation.state": "0 0 0 0 0 0"}), "observation.state"),
    (observed(**{"observation.state": None}), "observation.state"),
    (observed(**{"observation.images.phone": np.zeros((48, 64, 3), np.float32)}), "observation.images.phone"),
    (observed(**{"observation.images.phone": np.zeros((3, 48, 64), np.uint8)}), "observation.images.phone"),
    (observed(x=binary(np.zeros(2), dtype="|O")), "dtype"),
    (observed(x={b"__tensor__": True, b"data": b"12", b"dtype": "|O", b"shape": [1], b"device": b"cpu"}), "dtype"),
    (observed(x={b"__tensor__": True, b"data": b"12", b"dtype": "<f4", b"shape": [2**62], b"device": b"cpu"}), "x"),
    (observed(x={b"__tensor__": True, b"data": b"12", b"dtype": "<f4", b"shape": [-1], b"device": b"cpu"}), "x"),
]


@pytest.mark.parametrize(("message", "said"), BAD, ids=lambda value: repr(value)[:30])
def test_what_is_no_question_is_an_error_without_an_action_and_the_session_goes_on(server, message, said):
    with connect_to(url(server)) as socket:
        socket.send(message if isinstance(message, (bytes, str)) else msgpack.packb(message, default=packed))
        reply = msgpack.unpackb(socket.recv(timeout=PATIENCE))
        assert (reply["type"], set(reply)) == ("error", {"type", "message", "code"})
        assert said in reply["message"], reply
        assert "\x1b" not in reply["message"]
        socket.send(msgpack.packb(observed(), default=packed))
        assert msgpack.unpackb(socket.recv(timeout=PATIENCE))["type"] == "action_response"


@pytest.mark.parametrize("wrong", [lambda *_: Chunk(np.full((3, 6), np.nan)), lambda *_: 1 / 0, lambda *_: None])
def test_a_model_that_cannot_answer_moves_nothing(wrong):
    with serving(Puppet(wrong)) as server, PathOnClient(url(server)) as client:
        for _ in range(2):
            with pytest.raises(Failed, match="server error"):
                client.select_action(SEEN)
        assert client.ping()


def test_an_error_ends_what_was_left_of_the_answer_before(server):
    """A step of the queue is given at a glance; what cannot be told at a glance is read, and asks the model."""
    bad = observed(**{"observation.state": np.zeros(5, np.float32)})
    with PathOnClient(url(server)) as client:
        assert values(client, 2) == [1.0, 1.1]
        with pytest.raises(Failed, match=r"observation\.state"):
            client.ask({name: bad[name] for name in ("observation", "type")})
        assert values(client, 1) == [2.0]


# -- whoever gave up on an answer must not get it later ------------------------------------------------------------
def test_a_client_that_gave_up_never_gets_what_it_gave_up_on(door):
    """It would take it for the answer to what it sent then, and so on, each an observation late."""
    policy = Puppet(counted, doors={0: door})
    with serving(policy) as server:
        with PathOnClient(url(server), timeout=0.2) as client:
            with pytest.raises(Failed, match="timeout"):
                client.select_action(SEEN)
            reached(door.entered)
            client.timeout = PATIENCE
            with pytest.raises(Failed, match=r"1008.*busy"):
                client.select_action(SEEN)
            door.open()
            with pytest.raises(Failed, match="1008"):
                client.select_action(SEEN)
        with PathOnClient(url(server)) as again:
            assert values(again, 1) == [1.0]


@pytest.mark.parametrize("after", ["ping", "reset"])
def test_nor_does_one_that_says_something_else_meanwhile(door, after):
    with serving(Puppet(counted, doors={0: door})) as server, connect_to(url(server)) as socket:
        socket.send(msgpack.packb(observed(), default=packed))
        reached(door.entered)
        socket.send(msgpack.packb({"type": after}))
        with pytest.raises(Exception, match=r"1008.*busy"):
            socket.recv(timeout=PATIENCE)
        door.open()
        until(lambda: not get_json(server, "/api/v1/status")["sessions"], "its session is over")


def test_who_waits_for_a_model_is_told_in_time_and_may_ask_again(door, monkeypatch):
    monkeypatch.setattr(pathon.PathOnConnection, "answer_within", 0.3)

    def slowly():
        door.passing()
        return Puppet(counted)

    with serving(make=slowly, preload=False) as server, PathOnClient(url(server)) as client:
        for _ in range(2):
            with pytest.raises(
                Failed, match=r"server error: the model is not there after 0.3 s; ask again \(loading a"
            ):
                client.select_action(SEEN)
        assert not client.ping()
        monkeypatch.setattr(pathon.PathOnConnection, "answer_within", PATIENCE)
        door.open()
        until(lambda: get_json(server, "/api/v1/status")["loaded"], "it is there")
        with PathOnClient(url(server)) as again:
            assert values(again, 1) == [1.0]


def test_who_waits_for_an_answer_is_told_in_time_and_gets_no_other(door, monkeypatch):
    monkeypatch.setattr(pathon.PathOnConnection, "answer_within", 0.3)
    with serving(Puppet(counted, doors={0: door})) as server, PathOnClient(url(server)) as client:
        with pytest.raises(Failed, match=r"no answer after 0.3 s"):
            client.select_action(SEEN)
        with pytest.raises(Failed, match="1008"):
            client.select_action(SEEN)
        door.open()


def test_its_client_waits_longer_than_the_server():
    assert pathon.ANSWER_WITHIN < 30


def test_a_robot_that_dies_in_mid_inference_leaves_nothing(door):
    policy = Puppet(counted, doors={0: door})
    with serving(policy, limits=ServiceTimeouts(linger=0.0)) as server:
        with connect_to(url(server)) as socket:
            socket.send(msgpack.packb(observed(), default=packed))
            reached(door.entered)
            socket.socket.close()
        until(lambda: not get_json(server, "/api/v1/status")["sessions"], "it is gone")
        door.open()
        with PathOnClient(url(server)) as client:
            assert values(client, 1) == [1.0]


def test_a_model_that_is_none_is_the_reason_of_the_close():
    with (
        serving() as server,
        pytest.raises(Failed, match=r"1008.*model_not_found: .*none"),
        PathOnClient(url(server, "?model=none")) as client,
    ):
        client.select_action(SEEN)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"steps": 2.0}, {"stale_after": -1.0}, {"stale_after": float("nan")}, {"stale_after": "1"}],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PathOnOptions(**options)
