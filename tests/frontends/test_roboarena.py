"""RoboArena's flavour of openpi's protocol, by a client that does what RoboArena's does."""

import numpy as np
import pytest
from genuine_client import speaking
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.wire import decode, encode
from offboard_core import Checkpoint, Chunk, Field, InferenceServer
from offboard_core.catalog import CodecChoice, ModelSource
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.frontends import make_frontends
from offboard_core.plugins import Plugins
from offboard_openpi.roboarena import RoboArenaConnection, _glance
from puppets import Door, Puppet, PuppetLoader, arm, reached, source
from roboarena_client import RoboArenaClient, evaluators
from robots import connect_to
from taken_in import taken_in
from waits import PATIENCE
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.timeout(2 * PATIENCE)


def vendors(vendor, codec, answer, **options):
    """A model behind a vendor's own codec, and the policy."""
    asked = []

    def infer(episode, inputs):
        asked.append(inputs)
        return answer(len(asked)) if callable(answer) else Chunk(answer)

    policy = Puppet(infer)
    model = ModelSource(
        vendor=vendor,
        registry=MemoryRegistry([Checkpoint(id="it")]),
        loader=PuppetLoader({"it": lambda: policy}),
        codec=CodecChoice(Plugins.discover(), vendor, codec, options=options),
    )
    return model, asked, policy


def client(server, path="/roboarena"):
    # Its host and its port are put into a text, which is how a path comes into it.
    return RoboArenaClient(server.host, f"{server.port}{path}")


@pytest.mark.parametrize("first", [0, 1])
def test_a_droid_checkpoint_of_openpis_sees_what_the_arm_sent_and_the_arm_plays_what_it_answered(first):
    answer = np.random.default_rng(1).uniform(-1, 1, (15, 8))
    model, asked, _ = vendors("openpi", "droid", answer)
    with speaking(model) as server, client(server) as robot:
        config = robot.config
        sent = evaluators(config, "s1", first)
        told = robot.infer(dict(sent))["actions"]
    assert (config.action_space, config.n_external_cameras, config.needs_wrist_camera) == ("joint_velocity", 1, True)
    assert (config.needs_session_id, config.needs_stereo_camera, config.image_resolution) == (True, False, None)
    # All steps of an answer are played, so it has no more than DROID plays of one.
    np.testing.assert_array_equal(told, answer[:8])
    (seen,) = asked
    picture = sent.pop(f"observation/exterior_image_{first}_left")
    np.testing.assert_array_equal(seen["observation/exterior_image_1_left"], picture)
    for name in ("observation/joint_position", "observation/gripper_position", "observation/wrist_image_left"):
        assert (seen[name].dtype, seen[name].tobytes()) == (sent[name].dtype, sent[name].tobytes())
    assert seen["prompt"] == "put the cup on the plate"
    assert "session_id" not in seen


def test_of_two_cameras_the_first_is_the_first_however_they_are_counted():
    model, asked, _ = vendors("openpi", "droid", np.zeros((8, 8)))
    with speaking(model) as server, client(server) as robot:
        robot.config.n_external_cameras = 2
        for first in (0, 1):
            robot.infer(evaluators(robot.config, "s1", first))
    once, again = (seen["observation/exterior_image_1_left"] for seen in asked)
    np.testing.assert_array_equal(once, again)


def test_a_model_of_another_vendor_is_translated_to_joints_to_go_to():
    joints = np.random.default_rng(1).uniform(-1, 1, (4, 7))
    model, asked, _ = vendors("lerobot", "joints_traj", {"action": np.hstack([joints, np.ones((4, 1))])})
    with speaking(model) as server, client(server) as robot:
        assert robot.config.action_space == "joint_position"
        told = robot.infer(evaluators(robot.config, "s1"))["actions"]
    np.testing.assert_allclose(told, np.hstack([joints, np.ones((4, 1))]), atol=1e-6)
    np.testing.assert_allclose(asked[0]["observation.state"][:7], [0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7], atol=1e-6)


def test_as_many_steps_are_played_as_the_server_is_told():
    model, _, _ = vendors("openpi", "droid_jointpos", np.zeros((15, 8)))
    for horizon, steps in ((None, 15), (4, 4)):
        with speaking(model, action_horizon=horizon) as server, client(server) as robot:
            assert robot.config.action_space == "joint_position"
            assert robot.infer(evaluators(robot.config, "s1"))["actions"].shape == (steps, 8)


def test_an_option_says_what_the_bare_port_speaks():
    model, _, _ = vendors("openpi", "droid", np.zeros((8, 8)))
    frontends = make_frontends(Plugins.discover(), {"openpi": {"dialect": "roboarena"}})
    with InferenceServer({"it": model}, port=0, frontends=frontends) as server:
        with client(server, "") as robot:
            assert robot.infer(evaluators(robot.config, "s1"))["actions"].shape == (8, 8)
        with connect_to(f"ws://{server.host}:{server.port}/openpi/policy") as socket:
            assert "action_layout" in decode(socket.recv(timeout=PATIENCE)), "openpi's own clients have their paths"


JOINTS = {"target_joints": Field(shape=(7,)), "target_grip": Field(shape=(1,))}
CAMERAS = {f"image.{name}": Field(shape=(-1, -1, 3), dtype="uint8") for name in ("wrist", "exterior")}
DECLARED = {
    "robot_state.q": Field(shape=(7,), dtype="float32"),
    "grip": Field(shape=(1,), dtype="float32"),
}


@pytest.mark.parametrize(
    ("model", "codec", "says"),
    [
        (arm(), None, r"serve with a --codec of DROID's joint velocities \(droid\) or joints to go to .*…"),
        (arm(), "droid", "try another --openpi.codec than droid"),
        (arm(), "libero", "serve with --openpi.codec droid or droid_jointpos, not libero"),
        (source({"it": Puppet}, inputs=DECLARED), None, "nothing says whether core.native answers…"),
    ],
)
def test_a_model_that_droids_arms_cannot_play_is_refused_with_the_reason(model, codec, says):
    with speaking(model, codec=codec) as server, pytest.raises(ConnectionClosed, match=f"1008 .*{says}"):
        client(server)


def joints_at(fps):
    answer = {"target_joints": np.zeros((2, 7)), "target_grip": np.zeros((2, 1))}
    return source({"it": lambda: Puppet(lambda *_: Chunk(answer))}, inputs=DECLARED | CAMERAS, outputs=JOINTS, fps=fps)


@pytest.mark.parametrize("codec", [None, "droid_jointpos"])
@pytest.mark.parametrize(
    ("model", "fps", "times"),
    [
        (joints_at(2), 2, "7.5"),
        (joints_at(50), 50, "0.3"),
        (vendors("openpi", "droid_jointpos", np.zeros((15, 8)), fps=30)[0], 30, "0.5"),
    ],
    ids=["2", "50", "openpi's own codec"],
)
def test_steps_of_another_rate_than_the_arms_play_are_refused(model, fps, times, codec, caplog):
    says = f"1008 .*serve steps for 15 Hz, at which RoboArena's robots play, not for {fps}:"
    with speaking(model, codec=codec) as server, pytest.raises(ConnectionClosed, match=says):
        client(server)
    assert f"would be played {times} times as fast" in caplog.text


@pytest.mark.parametrize(("fps", "said"), [(15, 0), (None, 1)])
def test_the_log_says_where_nothing_says_the_rate(fps, said, caplog):
    with speaking(joints_at(fps)) as server:
        for _ in range(3):
            with client(server) as robot:
                assert robot.infer(evaluators(robot.config, "s1"))["actions"].shape == (2, 8)
    assert caplog.text.count("nothing says how many steps per second") == said


def test_what_nothing_says_an_option_does():
    model = source({"it": lambda: Puppet(lambda episode, inputs: Chunk(np.zeros((2, 8))))}, inputs=DECLARED)
    with speaking(model, codec="droid_jointpos") as server, client(server) as robot:
        assert robot.config.action_space == "joint_position"
        assert robot.config.n_external_cameras == 0


# -- sessions ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def counting():
    """A model whose answer is how many observations its episode has had, and a robot in front of it."""

    def answer(episode, inputs):
        return Chunk(np.full((1, 8), len(episode.seen) / 100))

    policy = Puppet(answer)
    model = ModelSource(
        vendor="openpi",
        registry=MemoryRegistry([Checkpoint(id="it")]),
        loader=PuppetLoader({"it": lambda: policy}),
        codec=CodecChoice(Plugins.discover(), "openpi", "droid"),
    )
    with speaking(model) as server, client(server) as robot:

        def count(session, **more):
            told = robot.infer(evaluators(robot.config, session, **more))["actions"]
            return round(float(told[0, 0]) * 100)

        robot.count, robot.policy = count, policy
        yield robot


def test_a_reset_is_answered_by_a_text_and_begins_an_episode(counting):
    assert [counting.count("s1"), counting.count("s1")] == [1, 2]
    assert counting.reset({"session_id": "s1"}) == "reset successful"
    assert counting.count("s1") == 1
    assert counting.reset({}) == "reset successful"
    assert counting.count("s1") == 1


def test_another_session_begins_anew_and_the_former_one_is_refused_from_then_on(counting):
    assert [counting.count("s1"), counting.count("s1")] == [1, 2]
    assert [counting.count("s2"), counting.count("s2")] == [1, 2]
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"bad_message: the session 's1' ended when another one began"):
            counting.count("s1")
    assert counting.count("s2") == 3, "it has lost nothing by that"


def test_a_reset_of_another_session_leaves_the_one_that_there_is(counting):
    assert [counting.count("s1"), counting.count("s2"), counting.count("s2")] == [1, 1, 2]
    for name in ("s1", "s3"):
        assert counting.reset({"session_id": name, "more": "x" * 5000}) == "reset successful"
    assert counting.count("s2") == 3
    assert counting.reset({"session_id": "s2", "more": "x" * 5000}) == "reset successful"
    assert counting.count("s2") == 1


def test_no_observation_is_answered_before_a_reset_that_failed_is_done(counting):
    assert [counting.count("s1"), counting.count("s1")] == [1, 2]
    (episode,) = counting.policy.episodes
    episode.reset = lambda: 1 / 0
    assert counting.reset({"session_id": "s1"}).startswith("policy_failed: ")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="policy_failed"):
            counting.count("s1")
    del episode.reset
    assert counting.count("s1") == 1


def test_a_session_whose_beginning_failed_is_not_answered_out_of_the_last_ones_memory(counting):
    assert [counting.count("s1"), counting.count("s1")] == [1, 2]
    (episode,) = counting.policy.episodes
    episode.reset = lambda: 1 / 0
    for _ in range(2):
        with pytest.raises(RuntimeError, match="policy_failed"):
            counting.count("s2")
    del episode.reset
    with pytest.raises(RuntimeError, match="the session 's1' ended when another one began"):
        counting.count("s1")
    assert [counting.count("s2"), counting.count("s2")] == [1, 2]


def test_observations_without_a_session_are_one(counting):
    assert [counting.count(None), counting.count(None)] == [1, 2]
    assert [counting.count("s1"), counting.count(7), counting.count(7), counting.count(["s2"])] == [1, 1, 2, 1]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("text", "bad_message: a text frame"),
        (b"\xc1", "bad_message: the frame is not a msgpack message"),
        (encode({"endpoint": "dance"}), "bad_message: the endpoint is 'dance'; there are infer and reset"),
        (encode({"endpoint": 7}), "bad_message: the endpoint is 7"),
        (encode({"endpoint": ["reset"]}), "bad_message: the endpoint is ['reset']; there are infer and reset"),
        (encode({"endpoint": True}), "bad_message: the endpoint is True"),
        (encode({"endpoint": "infer", "session_id": {"a": 1}}), "bad_message: session_id is"),
        (encode({"endpoint": "infer", "session_id": ["a", "b"]}), "bad_message: session_id is"),
        (encode({"endpoint": "infer", "session_id": "x" * 129}), "bad_message: session_id is"),
        (encode({"x": [1] * 2048, "session_id": "s9"}), "bad_message: session_id and endpoint are not seen"),
        # A good name, and a frame that is none.
        (b"\x82\xaasession_id\xa2s9\xa1x", "bad_message: "),
        (b"\x81\xd9\x08endpoint\xa5reset", "bad_message: session_id and endpoint are not seen"),
        (encode({"endpoint": "reset", "session_id": True}), "bad_message: session_id is True"),
        (encode({"session_id": "s9"})[:-1], "bad_message: "),
    ],
)
def test_what_cannot_be_understood_is_told_and_the_session_goes_on(counting, frame, says):
    assert counting.count("s1") == 1
    counting.socket.send(frame)
    told = counting.socket.recv(timeout=PATIENCE)
    assert isinstance(told, str)
    assert told.startswith(says)
    assert counting.count("s1") == 2, "no other session has begun"


@given(
    st.one_of(st.none(), st.text(max_size=128), st.integers(-(2**63), 2**64 - 1)),
    st.sampled_from(["infer", "reset", "dance"]),
    st.binary(max_size=600),
    st.booleans(),
)
def test_a_glance_says_what_a_frame_is_about(name, endpoint, data, listed):
    whole = {"x": data} | ({} if name is None else {"session_id": [name] if listed else name}) | {"endpoint": endpoint}
    assert _glance(encode(whole)) == (name, endpoint)


def test_what_stands_deeper_or_in_a_picture_is_not_what_a_frame_is_about():
    packed = encode({"session_id": "s8", "endpoint": "reset"})[1:]
    about = {"session_id": "s9", "endpoint": "infer"}
    deeper = {"a": {"session_id": "s8", "endpoint": "reset"}, "b": packed, "c": np.frombuffer(packed, np.uint8)}
    for whole in (about | deeper, deeper | about):
        assert _glance(encode(whole)) == ("s9", "infer")
    assert _glance(encode(deeper)) == (None, "infer")


def test_a_glance_searches_no_frame():
    """One of 32 MB would hold the event loop for as long as that takes, as often as it is looked at."""

    class Large(bytes):
        def searched(self, *_: object) -> int:
            raise AssertionError("it is searched")

        find = rfind = index = rindex = count = __contains__ = searched

        def __getitem__(self, at):
            found = super().__getitem__(at)
            assert isinstance(found, int) or len(found) <= 516
            return found

    seen = {"x": np.zeros((1000, 1000, 3), np.uint8), "prompt": "x" * 10_000}
    assert _glance(Large(encode({"session_id": "s9", **seen}))) == ("s9", "infer")
    assert _glance(Large(encode({**seen, "endpoint": "reset"}))) == (None, "reset")


@given(st.binary(max_size=300), st.sampled_from(["session_id", "endpoint"]))
def test_a_glance_at_anything_is_a_name_or_nothing(data, key):
    for found in _glance(b"\x81" + bytes([0xA0 + len(key)]) + key.encode() + data):
        assert found is None or type(found) in (str, int)


def test_numbers_that_no_arm_has_are_refused(counting):
    joints = {"observation/joint_position": np.full(7, np.nan)}
    with pytest.raises(RuntimeError, match=r"bad_observation: .*not finite"):
        counting.infer(evaluators(counting.config, "s1") | joints)
    seen = {name: value for name, value in evaluators(counting.config, "s1").items() if "wrist" not in name}
    with pytest.raises(RuntimeError, match=r"bad_observation: .*lacks observation/wrist_image_left"):
        counting.infer(seen)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("others", [["s1", "s1"], ["s2", "s3", "s2"]], ids=["its own", "others"])
def test_the_next_observation_before_the_answer_is_busy_whosever_it_is(before, others):
    """The first of a session, which is often the slow one, as well as a later one."""
    with Door() as door, taken_in(RoboArenaConnection) as frames:
        model, asked, policy = vendors("openpi", "droid", np.zeros((8, 8)))
        policy.doors[before] = door
        with speaking(model) as server, client(server) as robot:
            for _ in range(before):
                robot.infer(evaluators(robot.config, "s1"))
            robot.socket.send(encode(evaluators(robot.config, "s1")))
            reached(door.entered)
            for name in others:
                robot.socket.send(encode(evaluators(robot.config, name)))
            frames.wait_for(before + 1 + len(others))
            door.open()
            assert isinstance(robot.socket.recv(timeout=PATIENCE), bytes)
            for _ in others:
                assert robot.socket.recv(timeout=PATIENCE).startswith("busy: ")
            assert len(asked) == before + 1
            robot.infer(evaluators(robot.config, "s1"))  # none of them has begun


def test_an_observation_behind_its_own_reset_begins_anew():
    with Door() as door, taken_in(RoboArenaConnection) as frames:
        model, asked, policy = vendors("openpi", "droid", np.zeros((8, 8)))
        with speaking(model) as server, client(server) as robot:
            robot.infer(evaluators(robot.config, "s1"))
            policy.episodes[0].reset = door.passing
            robot.socket.send(encode({"endpoint": "reset", "session_id": "s1"}))
            reached(door.entered)
            robot.socket.send(encode(evaluators(robot.config, "s1")))
            frames.wait_for(3)
            door.open()
            assert robot.socket.recv(timeout=PATIENCE) == "reset successful"
            assert isinstance(robot.socket.recv(timeout=PATIENCE), bytes)
            robot.infer(evaluators(robot.config, "s1"))
            assert len(asked) == 3
