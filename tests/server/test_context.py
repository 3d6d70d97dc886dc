"""What an observation brings for the inference itself, from the robot to the model and back, over a socket."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from flow import JOINTS, MOST_DELAY, SCALE, STEPS, STRIDE, FlowPlugin, FlowPolicy, Scaled
from frames import PIXELS
from offboard_client import BadObservation, InferenceClient
from offboard_client.wire import CONTEXT, columns, encode_image
from offboard_core import Chunk, CodecEntry, Field, InferenceServer, LoadFailed, hookimpl
from puppets import Puppet, source
from robots import robot
from talking import ShiftOptions, Talking, offboard_codecs

HERE = {"robot_state.q": np.zeros(JOINTS), "task": "go"}


def flow(policy, codec="scaled"):
    return source({"flow": lambda: policy}, codec=codec, plugin=FlowPlugin())


@pytest.fixture
def policy():
    return FlowPolicy()


@pytest.fixture
def session(policy):
    with (
        InferenceServer({"flow": flow(policy)}, port=0) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        yield session


def at(joints, **brought):
    return {**HERE, "robot_state.q": np.asarray(joints), **{CONTEXT[name]: value for name, value in brought.items()}}


def joints(rows):
    return np.stack([row["action"]["target_joints"] for row in rows])


# -- the handshake -------------------------------------------------------------------------------------------------
@pytest.mark.rule("M-22", "M-26")
def test_the_handshake_says_what_the_model_takes(session):
    meta = session.metadata
    assert meta["context"] == ["delay_steps", "history", "prefix", "seed"]
    assert meta["max_delay_steps"] == MOST_DELAY
    assert meta["history"] == {"offsets_sec": [-0.1], "observation": ["robot_state.q"]}
    assert "context_refused" not in meta


@pytest.mark.rule("M-22", "M-12")
def test_a_model_that_takes_nothing_says_so():
    with InferenceServer({"a": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
    assert meta["context"] == []
    assert not meta.keys() & {"max_delay_steps", "history", "context_refused"}


@pytest.mark.rule("M-10")
def test_what_a_model_takes_is_part_of_its_digest():
    def digest(context):
        policy = Puppet()
        policy.context = frozenset(context)
        with InferenceServer({"a": source({"a": lambda: policy})}, port=0) as server, robot(server) as one:
            return one.opened()["meta"]["spec_hash"]

    assert digest([]) == digest([])
    assert digest(["seed"]) != digest([])


@pytest.mark.rule("M-23", "O-13")
def test_what_the_codec_cannot_say_to_the_model_is_refused_and_the_handshake_says_why(policy):
    with InferenceServer({"flow": flow(policy, "rounded")}, port=0) as server:
        with robot(server) as one:
            meta = one.opened()["meta"]
            assert meta["context"] == ["delay_steps", "history", "seed"]
            assert "joints are rounded to degrees" in meta["context_refused"]["prefix"]
            reply = one.ask(at([0.0] * JOINTS, prefix={"target_joints": np.zeros((2, JOINTS))}))
            assert (reply["code"], policy.told) == ("bad_observation", [])
            assert "joints are rounded to degrees" in reply["error"]
            assert "result" in one.ask(HERE), "without it the model is served as ever"
        with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
            with pytest.raises(BadObservation, match=r"prefix was not sent: .* joints are rounded to degrees"):
                session.infer(at([0.0] * JOINTS, prefix={"target_joints": np.zeros((2, JOINTS))}))
            assert session.infer(HERE)


@pytest.mark.rule("M-23")
def test_a_codec_that_declares_nothing_takes_no_history(policy):
    with InferenceServer({"flow": flow(policy, "native")}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        assert meta["context"] == ["delay_steps", "prefix", "seed"]
        assert "does not declare what it reads" in meta["context_refused"]["history"]


# -- a robot that plays on from what it has not played yet -----------------------------------------------------------
def play(session, exchanges, with_prefix):
    """What a robot plays that asks anew after five steps and goes on with the answer three steps later."""
    played, rows = [], list(session.infer(at([0.0] * JOINTS, seed=0)))
    for number in range(1, exchanges):
        played += rows[:5]
        left, here = rows[5:], played[-1]["action"]["target_joints"]
        brought = {"prefix": columns(left), "delay_steps": 3} if with_prefix else {}
        answer = session.infer(at(here, seed=number, **brought))
        if with_prefix:
            np.testing.assert_allclose(joints(answer[:3]), joints(left[:3]), atol=1e-9)
        rows = [*left[:3], *answer[3:]]
    return joints([*played, *rows])


@pytest.mark.rule("O-15", "O-16")
def test_what_is_not_played_yet_and_the_delay_make_one_motion_of_two_answers(session, policy):
    jump = np.abs(np.diff(play(session, 12, with_prefix=True), axis=0)).max()
    assert jump < 1.2 * STRIDE
    assert {context.delay_steps for context in policy.told[1:]} == {3}
    prefix = policy.told[1].prefix
    assert isinstance(prefix.action, np.ndarray), "a bare vector, as the model answers it"
    assert prefix.action.shape == (STEPS - 5, JOINTS)
    assert np.abs(prefix.action).max() == pytest.approx(SCALE * STRIDE * STEPS, rel=0.1), "in the model's terms"
    without = np.abs(np.diff(play(session, 12, with_prefix=False), axis=0)).max()
    assert without > 3 * STRIDE, "the policy does turn back where nobody tells it"


@pytest.mark.rule("O-13", "O-14", "O-15", "O-16", "O-17")
def test_a_text_frame_brings_the_same(policy):
    here = {"robot_state.q": [0.5] * JOINTS, "task": "go", "offboard.seed": 7, "offboard.delay_steps": 2}
    told = {
        **here,
        "offboard.prefix": {"target_joints": [[0.5] * JOINTS, [0.6] * JOINTS]},
        "offboard.history": [{"robot_state.q": [0.4] * JOINTS}],
    }
    with InferenceServer({"flow": flow(policy)}, port=0) as server, robot(server) as one:
        one.opened()
        text = one.ask_text(json.dumps(told))
        binary = one.ask({**told, "offboard.prefix": {"target_joints": np.array([[0.5] * JOINTS, [0.6] * JOINTS])}})
    for answer in (text, binary):
        assert len(answer["result"]) == STEPS
    np.testing.assert_allclose(joints(text["result"]), joints(binary["result"]))
    first, second = policy.told
    np.testing.assert_allclose(first.prefix.action, [[5.0] * JOINTS, [6.0] * JOINTS])
    np.testing.assert_array_equal(first.prefix.action, second.prefix.action)
    assert (first.seed, first.delay_steps, second.seed, second.delay_steps) == (7, 2, 7, 2)
    np.testing.assert_allclose(first.history[0]["state"], [4.0] * JOINTS)


@pytest.mark.rule("O-15", "O-16")
def test_a_robot_may_have_less_left_to_play_than_it_will_wait_for(policy):
    with InferenceServer({"flow": flow(policy)}, port=0) as server, robot(server) as one:
        one.opened()
        left = {"target_joints": np.full((1, JOINTS), 0.5)}
        assert "result" in one.ask({**HERE, "offboard.prefix": left, "offboard.delay_steps": MOST_DELAY})
    (context,) = policy.told
    np.testing.assert_allclose(context.prefix.action, [[5.0] * JOINTS])
    assert context.delay_steps == MOST_DELAY


@pytest.mark.rule("O-13")
def test_null_is_as_if_it_were_not_there(policy):
    with InferenceServer({"flow": flow(policy)}, port=0) as server, robot(server) as one:
        one.opened()
        assert "result" in one.ask({**HERE, **dict.fromkeys(CONTEXT.values())})
    (context,) = policy.told
    assert (context.prefix, context.seed, context.delay_steps, context.history) == (None, None, 0, ())


@pytest.mark.rule("O-16", "L-34")
def test_a_codec_that_was_configured_says_to_the_model_what_it_makes_now():
    told = []

    class Hears(Talking):
        context = frozenset({"prefix"})

        def infer_many(self, batch):
            told.extend(item.context.prefix for item in batch)
            return super().infer_many(batch)

    plugin = SimpleNamespace(offboard_codecs=offboard_codecs)
    served = source({"a": Hears}, codec="shift", plugin=plugin)
    with InferenceServer({"a": served}, port=0) as server, robot(server) as one:
        one.opened()
        for offset in (0.0, 2.0):
            assert one.ask_text({"type": "configure", "params": {"codec.offset": offset}})["status"] == "called"
            assert "result" in one.ask({"x": 1, "offboard.prefix": {"action": np.full((2, 3), 5.0)}})
    assert [prefix.action.tolist() for prefix in told] == [[[5.0] * 3] * 2, [[3.0] * 3] * 2]


# -- seeds ---------------------------------------------------------------------------------------------------------
@pytest.mark.rule("O-14")
def test_a_seed_makes_a_policy_that_samples_answer_the_same_again(session):
    once, again, other = (joints(session.infer(at([0.1] * JOINTS, seed=seed))) for seed in (5, 5, 6))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)
    free = [joints(session.infer(HERE)) for _ in range(3)]
    assert not np.array_equal(free[0], free[1]), "without one it answers as it likes"
    assert not np.array_equal(free[1], free[2])


# -- what is refused -----------------------------------------------------------------------------------------------
GOOD = np.zeros((3, JOINTS))
BAD = [
    ({"seed": -1}, "seed is -1; expected a whole number from 0 to 2\\*\\*63 - 1"),
    ({"seed": 2**63}, "seed is 9223372036854775808"),
    ({"seed": True}, "seed is True"),
    ({"seed": 1.5}, "seed is 1.5"),
    ({"seed": "7"}, "seed is '7'"),
    ({"delay_steps": -1}, "delay_steps is -1; expected a whole number of steps from 0 to 6"),
    ({"delay_steps": MOST_DELAY + 1}, "delay_steps is 7"),
    ({"delay_steps": [1]}, r"delay_steps is ndarray of shape \(1,\)|delay_steps is \[1\]"),
    ({"prefix": GOOD}, "prefix is no map"),
    ({"prefix": [[0.0] * JOINTS]}, "prefix is no map"),
    ({"prefix": {}}, "prefix is no map"),
    ({"prefix": {b"target_joints": GOOD}}, "prefix is no map"),
    ({"history": [{b"robot_state.q": np.zeros(JOINTS)}]}, r"history\[0\] holds b'robot_state.q'"),
    ({"prefix": {"target_joints": "all"}}, "prefix is no map"),
    ({"prefix": {"target_joints": np.float64(1)}}, "prefix is no map"),
    ({"prefix": {"target_pose": GOOD}}, "holds target_pose; the actions are target_joints"),
    ({"prefix": {"target_joints": GOOD, "target_grip": np.zeros((3, 1))}}, "the actions are target_joints"),
    ({"prefix": {"target_joints": np.zeros((3, 2))}}, r"target_joints has the shape \(3, 2\), expected \(K, 3\)"),
    ({"prefix": {"target_joints": np.zeros(3)}}, r"has the shape \(3,\)"),
    ({"prefix": {"target_joints": np.zeros((0, JOINTS))}}, "has 0 steps, expected 1 to 4,096; or leave it out"),
    ({"prefix": {"target_joints": np.zeros((4097, JOINTS), np.float16)}}, "has 4,097 steps"),
    ({"prefix": {"target_joints": np.full((3, JOINTS), np.nan)}}, "holds what is no finite number"),
    ({"prefix": {"target_joints": GOOD == 0}}, "holds what is no finite number"),
    ({"history": HERE}, "history is no list of 1 observations, one from each of -0.1 s"),
    ({"history": []}, "history is no list of 1 observations"),
    ({"history": [{"robot_state.q": np.zeros(JOINTS)}] * 2}, "history is no list of 1 observations"),
    ({"history": [{}]}, r"history\[0\] holds nothing; expected .*robot_state\.q"),
    ({"history": [7]}, r"history\[0\] holds int"),
    ({"history": [{**HERE}]}, r"history\[0\] holds robot_state\.q, task"),
    ({"history": [{"robot_state.q": np.zeros(4)}]}, r"history\[0\]: robot_state\.q has shape \(4,\)"),
    ({"history": [{"robot_state.q": np.full(JOINTS, np.inf)}]}, r"history\[0\]: robot_state\.q is not finite"),
]


@pytest.fixture(scope="module")
def server_of_flow():
    policy = FlowPolicy()
    with InferenceServer({"flow": flow(policy)}, port=0) as server:
        yield server, policy


@pytest.mark.rule("O-14", "O-15", "O-16", "O-17", "L-3")
@pytest.mark.parametrize(("brought", "says"), BAD)
def test_what_is_not_what_the_protocol_says_is_refused_before_the_model(server_of_flow, brought, says):
    server, policy = server_of_flow
    policy.told.clear()
    with robot(server) as one:
        one.opened()
        reply = one.ask(at([0.0] * JOINTS, **brought))
        assert reply["code"] == "bad_observation"
        assert re.search(says, reply["error"]), reply["error"]
        assert policy.told == []
        assert "result" in one.ask(HERE)


@pytest.mark.rule("O-16")
@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ({"target_pose": [[0.0] * 7], "target_grip": [[0.5]]}, "the quaternion of target_pose of row 0"),
        ({"target_pose": [[0.0] * 3 + [1.0] + [0.0] * 3], "target_grip": [[2.0]]}, "target_grip of row 0 is 2"),
        ({"target_pose": [[0.0] * 3 + [1.0] + [0.0] * 3] * 2, "target_grip": [[0.5]]}, "one common length"),
    ],
)
def test_a_name_of_the_protocol_holds_what_it_means_there_as_well(prefix, says):
    outputs = {"target_pose": Field(shape=(7,)), "target_grip": Field(shape=(1,))}
    policy = Puppet()
    policy.context = frozenset({"prefix"})
    served = source({"a": lambda: policy}, outputs=outputs)
    with InferenceServer({"a": served}, port=0) as server, robot(server) as one:
        one.opened()
        reply = one.ask_text({"x": 1, "offboard.prefix": prefix})
        assert reply["code"] == "bad_observation"
        assert says in reply["error"]


@pytest.mark.rule("O-16")
@pytest.mark.parametrize("shape", [(2,), (2, 0), (2, 2, 2)])
def test_where_no_action_is_declared_each_step_has_a_vector(shape):
    policy = Puppet()
    policy.context = frozenset({"prefix"})
    with InferenceServer({"a": source({"a": lambda: policy})}, port=0) as server, robot(server) as one:
        one.opened()
        reply = one.ask({"x": 1, "offboard.prefix": {"action": np.zeros(shape)}})
        assert reply["code"] == "bad_observation"
        assert f"action has the shape {shape}, expected (K, D)" in reply["error"]
        assert "result" in one.ask({"x": 1, "offboard.prefix": {"action": np.zeros((2, 2))}})


@pytest.mark.rule("O-13")
@pytest.mark.parametrize("query", ["dialect=offboard", "dialect=positronic", ""])
@pytest.mark.parametrize("name", CONTEXT)
def test_what_a_model_does_not_take_is_never_left_unread(name, query):
    seen = []
    model = Puppet(lambda episode, inputs: seen.append(inputs) or Chunk({"target_joints": np.zeros((1, 2))}))
    with InferenceServer({"a": source({"a": lambda: model}, fps=10)}, port=0) as server:
        with robot(server, query=query) as one:
            one.opened()
            reply = one.ask({"x": 1, CONTEXT[name]: 1})
            assert (reply["code"], seen) == ("bad_observation", [])
            assert f"brings {CONTEXT[name]}, and this model does not take it" in reply["error"]
            assert "result" in one.ask({"x": 1})
        with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
            with pytest.raises(BadObservation, match=f"{CONTEXT[name]} was not sent"):
                session.infer({"x": 1, CONTEXT[name]: 1})
            assert session.infer({"x": 1})


@pytest.mark.rule("O-13")
def test_what_an_observation_brings_is_no_part_of_the_models_input():
    seen = []
    policy = Puppet(lambda episode, inputs: seen.append(inputs) or Chunk(np.zeros((2, 3))))
    policy.context = frozenset({"seed", "prefix"})
    with InferenceServer({"a": source({"a": lambda: policy})}, port=0) as server, robot(server) as one:
        one.opened()
        reply = one.ask({"x": 1, "offboard.seq": 4, "offboard.seed": 3, "offboard.prefix": {"action": np.ones((2, 3))}})
    assert (seen[0].keys(), reply["offboard.seq"]) == ({"x"}, 4)


# -- history -------------------------------------------------------------------------------------------------------
@pytest.mark.rule("O-17", "E-16")
def test_earlier_moments_are_observations_and_their_images_are_read_like_those():
    heard = []

    class Looks(Puppet):
        context = frozenset({"history"})
        history_sec = (-0.2, -0.1)

        def infer_many(self, batch):
            heard.extend(item.context for item in batch)
            return super().infer_many(batch)

    inputs = {
        "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8"),
        "image.low": Field(shape=(-1, -1, 3), dtype="uint8", required=False),
        "task": Field(dtype="str"),
    }
    picture = encode_image(PIXELS)
    with InferenceServer({"a": source({"a": Looks}, inputs=inputs)}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        assert meta["history"] == {"offsets_sec": [-0.2, -0.1], "observation": ["image.wrist", "image.low"]}
        moments = [{"image.wrist": picture}, {"image.wrist": PIXELS}]
        told = {"image.wrist": PIXELS, "task": "go", "offboard.seq": 1, "offboard.history": moments}
        assert "result" in one.ask(told)
        reply = one.ask({**told, "image.low": PIXELS})
        assert "expected what the observation has of what changes: image.low, image.wrist" in reply["error"]
    (context,) = heard
    assert [frame.keys() for frame in context.history] == [{"image.wrist", "task"}] * 2
    assert context.history[0]["image.wrist"].shape == PIXELS.shape
    np.testing.assert_array_equal(context.history[1]["image.wrist"], PIXELS)


class Rows(Puppet):
    """Was trained on the rows of a data set, whose rate it does not know."""

    context = frozenset({"history"})
    history_steps = (-4, -1)


@pytest.mark.rule("M-26", "M-27")
def test_a_history_in_steps_is_as_far_apart_as_the_codec_says_that_steps_are():
    absent = {"history": "it looks at what it was sent"}
    with InferenceServer({"a": flow(Rows(meta={"context_absent": absent}))}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        assert meta["history"] == {"offsets_sec": [-0.4, -0.1], "observation": ["robot_state.q"]}
        assert meta["context_absent"] == absent
        moments = [{"robot_state.q": np.ones(JOINTS)}] * 2
        reply = one.ask({**HERE, "offboard.history": moments[1:]})
        assert "no list of 2 observations, one from each of -0.4 s, -0.1 s" in reply["error"]


@pytest.mark.rule("O-18", "M-27")
def test_what_a_session_observed_is_kept_for_a_model_that_cannot_go_without_and_a_robot_that_brings_none():
    heard = []

    class Kept(Rows):
        history_kept = True

        def infer_many(self, batch):
            heard.extend([frame["state"][0] / SCALE for frame in item.context.history] for item in batch)
            return super().infer_many(batch)

    def seen(one, value, tenths, **brought):
        one.ask({"robot_state.q": np.full(JOINTS, value), "task": "go", "obs_time": int(tenths * 1e8), **brought})

    with InferenceServer({"a": flow(Kept())}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        assert meta["history"]["offsets_sec"] == [-0.4, -0.1]
        assert "nearest to each moment, by obs_time" in meta["context_absent"]["history"]
        for step in range(6):
            seen(one, step, 100 + step)
        moments = [{"robot_state.q": np.full(JOINTS, value)} for value in (7.0, 8.0)]
        seen(one, 6, 106, **{"offboard.history": moments})
        one.send({"type": "reset"})
        one.receive()
        seen(one, 9, 107)
    assert heard == [[0, 0], [0, 0], [0, 1], [0, 2], [0, 3], [1, 4], [7, 8], [9, 9]]


@pytest.mark.rule("L-7", "O-18")
def test_a_robot_that_asks_too_seldom_for_a_model_that_looks_back_is_warned_once(caplog):
    class Kept(Rows):
        history_kept = True

    with InferenceServer({"a": flow(Kept())}, port=0) as server, robot(server) as one:
        one.opened()
        replies = [one.ask({**HERE, "obs_time": int(at * 1e9)}) for at in (100, 101, 102)]
    said = [[text for text in reply.get("warnings", []) if "observed" in text] for reply in replies]
    assert [len(texts) for texts in said] == [0, 1, 0]
    assert "observed 0.4 s ago, and nothing had been sent about then: it was told what is 0.4 s from it" in said[1][0]
    assert caplog.text.count("a session's history: the model wants what was observed 0.4 s ago") == 1


@pytest.mark.rule("O-18")
def test_what_a_codec_made_by_other_options_is_no_history_of_what_it_makes_now():
    heard = []

    class Kept(Rows):
        history_kept = True

        def infer_many(self, batch):
            heard.extend([frame["state"][0] / SCALE for frame in item.context.history] for item in batch)
            return super().infer_many(batch)

    class Moved(Scaled):
        def __init__(self, options):
            self.options = options

        def encode(self, observation):
            return {"state": super().encode(observation)["state"] + self.options.offset * SCALE}

    codec = CodecEntry(
        name="moved", summary="", factory=lambda options, checkpoint: Moved(options), options=ShiftOptions
    )
    served = source({"a": Kept}, codec="moved", plugin=SimpleNamespace(offboard_codecs=hookimpl(lambda: [codec])))
    with InferenceServer({"a": served}, port=0) as server, robot(server) as one:
        one.opened()
        for step, offset in enumerate((0.0, 0.0, 10.0, 10.0)):
            one.ask({"type": "configure", "params": {"codec.offset": offset}})
            one.ask({"robot_state.q": np.full(JOINTS, step), "task": "go", "obs_time": int((100 + 4 * step) * 1e8)})
    assert heard == [[0, 0], [0, 1], [12, 12], [12, 13]]


@pytest.mark.rule("M-23")
@pytest.mark.parametrize(
    ("fps", "why"),
    [(None, "observed 4, 1 steps ago, and nothing says how many are a second: set --fps"), (0.05, "from -60 on")],
)
def test_without_a_rate_that_it_can_be_said_in_there_is_no_history_in_steps_and_the_handshake_says_why(fps, why):
    class Rated(Scaled):
        @property
        def meta(self):
            return replace(super().meta, action_fps=fps)

    codec = CodecEntry(name="rated", summary="", factory=lambda options, checkpoint: Rated())
    plugin = SimpleNamespace(offboard_codecs=hookimpl(lambda: [codec]))
    with (
        InferenceServer({"a": source({"a": Rows}, codec="rated", plugin=plugin)}, port=0) as server,
        robot(server) as one,
    ):
        meta = one.opened()["meta"]
        assert meta["context"] == []
        assert why in meta["context_refused"]["history"]
        assert why in one.ask({**HERE, "offboard.history": []})["error"]

    class Kept(Rows):
        history_kept = True

    with (
        InferenceServer({"a": source({"a": Kept}, codec="rated", plugin=plugin)}, port=0) as server,
        robot(server) as one,
    ):
        refused = one.refused()
        assert "no session can be answered without a history" in refused["error"]
        assert why in refused["error"]


# -- what a policy declares ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("declares", "says"),
    [
        ({"context": {"sed"}}, "context is {'sed'}; expected a set of some of prefix, delay_steps, seed, history"),
        ({"context": 3}, "context is 3"),
        ({"context": {"seed"}, "max_delay_steps": 3}, "max_delay_steps is 3"),
        ({"context": {"delay_steps"}, "max_delay_steps": -1}, "max_delay_steps is -1"),
        ({"context": {"delay_steps"}, "max_delay_steps": 2.5}, "max_delay_steps is 2.5"),
        ({"context": {"history"}}, r"history_sec is \(\)"),
        ({"context": {"seed"}, "history_sec": (-1.0,)}, r"history_sec is \(-1.0,\)"),
        ({"context": {"history"}, "history_sec": (-0.1, -0.2)}, "oldest first"),
        ({"context": {"history"}, "history_sec": (0.0,)}, "below 0"),
        ({"context": {"history"}, "history_sec": (float("-inf"),)}, "below 0"),
        ({"context": {"history"}, "history_sec": (-1e12,)}, "from -60 on"),
        ({"context": {"history"}, "history_sec": -1.0}, "history_sec is -1.0"),
        ({"context": {"history"}, "history_steps": (-1, -2)}, r"history_steps is \(-1, -2\); .* oldest first"),
        ({"context": {"history"}, "history_steps": (-1, 0)}, "below 0"),
        ({"context": {"history"}, "history_steps": (-0.5,)}, "whole numbers"),
        ({"context": {"history"}, "history_steps": -1}, "history_steps is -1"),
        ({"context": {"history"}, "history_steps": (-1,), "history_sec": (-1.0,)}, "expected one of them"),
        ({"context": {"seed"}, "history_steps": (-1,)}, "no history_steps say it, else nothing"),
        ({"context": {"seed"}, "history_kept": True}, "history_kept is True; .* only where it takes history"),
        ({"context": {"history"}, "history_sec": (-1.0,), "history_kept": 1}, "history_kept is 1"),
    ],
)
def test_a_policy_that_declares_what_cannot_be_is_not_loaded(declares, says):
    policy = Puppet()
    for name, value in declares.items():
        setattr(policy, name, value)
    with (
        InferenceServer({"a": source({"a": lambda: policy})}, port=0) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        pytest.raises(LoadFailed, match=says),
    ):
        client.new_session()
