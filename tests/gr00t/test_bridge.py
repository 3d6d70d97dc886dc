"""What GR00T's robots say, in canonical terms and back: the inverse of the codecs, and never a guess."""

import contextlib
from dataclasses import replace
from typing import get_args

import gr00t_clients
import numpy as np
import offboard_gr00t
import pytest
from golden_codecs import observation
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_core.catalog import ResolvedCodec
from offboard_core.codecs import CONVENTIONS
from offboard_core.frontends import make_listeners
from offboard_core.plugins import CODEC, Plugins
from offboard_core.server import InferenceServer
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Field
from offboard_gr00t.bridge import bridge
from offboard_gr00t.keysets import KEYSETS
from offboard_gr00t.options import Keys
from puppets import PATIENCE, Puppet, source
from same_actions import assert_same_actions

PLUGINS = Plugins.discover()
NOWHERE = Checkpoint(id="it")
TASK = "annotation.human.task_description"


def codec_of(name, checkpoint=NOWHERE):
    offer = PLUGINS.get(CODEC, name, "gr00t")
    return offer.make(offer.options()(), checkpoint)


def canonical(name):
    """What a robot sees, in pictures of the size that the codec makes."""
    seen, (width, height) = observation(), codec_of(name).meta.image_sizes
    pictures = {key: np.ascontiguousarray(seen[key][:height, :width]) for key in ("image.wrist", "image.exterior")}
    return {**seen, **pictures}


def test_every_key_set_can_be_named_and_is_that_of_a_codec():
    assert set(get_args(Keys)) == set(KEYSETS)
    codecs = {offer.entry.name for offer in PLUGINS.offers(CODEC) if offer.provider.name == "gr00t"}
    assert codecs - {"native"} == set(KEYSETS)


@pytest.mark.parametrize("name", KEYSETS)
def test_an_observation_that_the_codec_made_is_read_back(name):
    keys, seen = KEYSETS[name], canonical(name)
    encoded = codec_of(name).encode(seen)
    assert encoded.keys() == keys.keys
    read = keys.to_canonical({**encoded, "more": 1})
    assert read.pop("more") == 1
    assert read.keys() == keys.provides
    for what, value in read.items():
        if what == "task" or what.startswith("image"):
            np.testing.assert_array_equal(value, seen[what])
        else:
            np.testing.assert_allclose(value, seen[what], atol=1e-6)


@pytest.mark.parametrize("name", KEYSETS)
def test_an_action_that_the_codec_read_is_made_again(name):
    keys, codec = KEYSETS[name], codec_of(name)
    random = np.random.default_rng(5)
    columns = {"target_grip": np.float64([[0], [1], [1], [0]])}
    for what in keys.actions.keys() - columns.keys():
        columns[what] = random.uniform(-1, 1, (4, 7))
        if what == "pose_delta":
            columns[what] *= 0.04
            columns[what][:, 3] = 1
        if what != "target_joints":
            columns[what][:, 3:] /= np.linalg.norm(columns[what][:, 3:], axis=1, keepdims=True)
    played = keys.from_canonical(columns)
    assert {name: steps.shape for name, steps in played.items()} == {n: (4, w) for n, w in keys.layout.items()}
    assert_same_actions(Chunk(codec.decode(Chunk(played), {}).columns()), Chunk(columns))
    if keys.unplayed:
        more = {**played, **{group: np.ones((4, 9)) for group in keys.unplayed}}
        assert (
            bridge(None, ResolvedCodec(codec, f"gr00t.{name}", "default")).decode(Chunk(more), {}).columns() == played
        )
    assert_same_actions(Chunk(keys.actions_to_canonical(played)), Chunk(columns))


@pytest.mark.parametrize(
    "pose", [np.zeros(9), np.float32([0, 0, 0, 1, 0, 0, 1, 0, 0]), np.float32([0, 0, 0, 1, 0, 0, np.nan, 0, 0])]
)
@pytest.mark.parametrize(("name", "key"), [("ee_rot6d", "state.ee_pose"), ("droid", "state.eef_9d")])
def test_a_pose_that_is_none_is_refused_by_name(name, key, pose):
    with pytest.raises(BadObservation, match=r"the robot's pose is none, with .* its rotation|its rotation as rot6d"):
        KEYSETS[name].to_canonical({key: pose})


def test_of_liberos_pose_no_number_may_be_missing():
    groups = {f"state.{axis}": np.zeros(1) for axis in ("x", "y", "z", "roll", "pitch")}
    with pytest.raises(BadObservation, match=r"lacks state.gripper, state.yaw; a pose of LIBERO's is made of all"):
        KEYSETS["libero"].to_canonical(groups)
    assert KEYSETS["libero"].to_canonical({"more": 1}) == {"more": 1}


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"target_joints": np.zeros((2, 7)), "target_grip": np.zeros((2, 1))}, "one is never made of the other"),
        ({"target_pose": np.ones((2, 7))}, "the model answers target_pose; a robot with the key set ee_quat plays"),
    ],
)
def test_what_the_robot_cannot_play_is_not_sent(columns, says):
    with pytest.raises(InvalidAction, match=says):
        KEYSETS["ee_quat"].from_canonical(columns)


def test_a_step_that_robosuite_would_clip_is_not_sent():
    far = {"pose_delta": np.tile([0.2, 0, 0, 1, 0, 0, 0], (2, 1)), "target_grip": np.zeros((2, 1))}
    with pytest.raises(InvalidAction, match=r"0.2 m in one step; this robot plays 0.05 m at most"):
        KEYSETS["libero"].from_canonical(far)


def test_other_actions_than_the_robots_are_not_taken_for_its():
    with pytest.raises(BadObservation, match=r"hold action.ee_pose \(2, 9\), expected action.ee_pose \(7\), action.g"):
        KEYSETS["ee_quat"].actions_to_canonical({"action.ee_pose": np.zeros((2, 9))})


# -- which way ------------------------------------------------------------------------------------------------------
POSE = Field(shape=(7,), dtype="float32")
MODEL = CodecMeta(
    observation={
        "robot_state.ee_pose": POSE,
        "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8"),
        "task": Field(shape=(), dtype="str", required=False),
    },
    action={"target_pose": Field(shape=(7,)), "target_grip": Field(shape=(1,))},
    image_sizes={"image.wrist": (320, 240)},
    action_fps=10.0,
    conventions=CONVENTIONS,
)


class Plain(Codec):
    """Declares, and changes nothing."""

    meta = CodecMeta()

    def __init__(self, meta):
        self.meta = meta

    def encode(self, observation):
        return dict(observation)

    def decode(self, chunk, observation):
        return chunk

    def encode_actions(self, chunk, observation):
        return chunk


def resolved(meta=MODEL, name="puppet.declared"):
    return ResolvedCodec(Plain(meta), name, "default")


def model(**changes):
    return resolved(replace(MODEL, **changes))


def test_a_key_set_is_translated_and_asks_for_what_the_model_needs():
    codec = bridge(KEYSETS["ee_rot6d"], model())
    assert {name: field.required for name, field in codec.meta.observation.items()} == {
        "state.grip": False, "state.ee_pose": True, "video.wrist_image": True, "video.exterior_image_1": False,
        "annotation.language.language_instruction": False,
    }  # fmt: skip
    assert {name: field.shape for name, field in codec.meta.action.items()} == {
        "action.ee_pose": (9,), "action.grip": (1,),
    }  # fmt: skip
    assert codec.meta.image_sizes == {"video.wrist_image": (320, 240)}
    assert codec.meta.action_fps == 10
    pose = np.float32([0.4, 0, 0.3, 0, 1, 0, -1, 0, 0])  # a quarter turn about z
    inputs = codec.encode({"state.ee_pose": pose, "annotation.language.language_instruction": "go"})
    np.testing.assert_allclose(inputs["robot_state.ee_pose"][3:], [np.sqrt(0.5), 0, 0, -np.sqrt(0.5)], atol=1e-7)
    assert inputs["task"] == "go"
    answered = {"target_pose": np.array([[0.4, 0, 0.3, 1, 0, 0, 0]]), "target_grip": np.ones((1, 1))}
    played = codec.decode(Chunk(answered), {}).columns()
    np.testing.assert_allclose(played["action.ee_pose"], [[0.4, 0, 0.3, 1, 0, 0, 0, 1, 0]])


@pytest.mark.parametrize("wrong", [{"target_pose": np.zeros((2, 7))}, {"target_grip": np.full((2, 1), 7)}])
def test_a_name_of_the_protocol_is_checked_before_it_is_turned(wrong):
    good = {"target_pose": np.tile([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0], (2, 1)), "target_grip": np.ones((2, 1))}
    with pytest.raises(InvalidAction, match=r"target_(pose|grip)"):
        bridge(KEYSETS["ee_rot6d"], model()).decode(Chunk({**good, **wrong}), {})


@pytest.mark.parametrize("key", [None, TASK])
def test_the_codec_of_the_same_keys_is_left_out(key):
    """The model reads what the robot sent, to the bit, its instruction under the model's own key."""
    inputs = {} if key is None else {key: Field(shape=(), dtype="str")}
    plain = ResolvedCodec(codec_of("ee_rot6d", replace(NOWHERE, inputs=inputs)), "gr00t.ee_rot6d", "default")
    codec = bridge(KEYSETS["ee_rot6d"], plain)
    said = codec.meta.observation["annotation.language.language_instruction"]
    assert (said.dtype, said.required) == ("str", True)
    sent = {"state.ee_pose": np.ones(9), "video.wrist_image": np.zeros((2, 4, 4, 3), np.uint8)}
    inputs = codec.encode({**sent, "annotation.language.language_instruction": "go"})
    assert inputs == {**sent, key or "annotation.language.language_instruction": "go"}
    answered = Chunk({"action.ee_pose": np.full((3, 9), 1.5), "action.grip": np.full((3, 1), 0.3)})
    assert codec.decode(answered, sent) is answered
    assert codec.encode_actions(answered, sent) is answered


OWN = {"state.grip": Field(shape=(1,)), "state.joint_position": Field(shape=(7,))}
GROUPS = {"action.joint_position": Field(shape=(7,)), "action.grip": Field(shape=(1,))}


def own(observation=OWN, action=GROUPS, name="gr00t.native"):
    return resolved(CodecMeta(observation=observation, action=action), name)


@pytest.mark.parametrize("name", ["gr00t.native", "puppet.declared"])
@pytest.mark.parametrize("action", [{}, GROUPS])
def test_a_model_that_reads_the_robots_own_names_gets_them(name, action):
    codec = own(action=action, name=name)
    assert bridge(KEYSETS["joints_traj"], codec) is codec
    assert bridge(None, codec) is codec


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"observation": {**OWN, "state.waist": Field(shape=(3,))}}, "reads state.waist, which the robot does not"),
        ({"observation": {**OWN, "state.joint_position": Field(shape=(6,))}}, r"is \(7,\) for the robot, \(6,\) for"),
        (
            {"action": {**GROUPS, "action.grip": Field(shape=(2,))}},
            r"action.grip \(1\), the model answers .*grip \(2\)",
        ),
        ({"action": {"action.arm": Field(shape=(8,))}}, r"the model answers action.arm \(8\)"),
    ],
)
def test_a_model_with_the_robots_names_and_other_numbers_is_refused(changes, says):
    with pytest.raises(DialectUnsupported, match=says):
        bridge(KEYSETS["joints_traj"], own(**changes))


JOINTS = {"target_joints": Field(shape=(7,)), "target_grip": Field(shape=(1,))}


@pytest.mark.parametrize(
    ("keys", "changes", "says"),
    [
        ("joints_traj", {}, "the model reads robot_state.ee_pose, which the robot does not send"),
        ("ee_quat", {"action": JOINTS}, r"plays action.ee_pose \(7\), action.grip \(1\), the model answers target_joi"),
        ("ee_quat", {"conventions": {"frame": "LIBERO's world (robosuite)"}}, "frame is 'arm base' for the robot"),
        ("droid", {"action": JOINTS}, "the robot plays 15 steps per second, the model's are made for 10"),
        ("ee_quat", {"conventions": {"quaternion": "x y z w"}}, "quaternion is 'w x y z' for the robot, 'x y z w' for"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides_named(keys, changes, says):
    with pytest.raises(DialectUnsupported, match=says) as raised:
        bridge(KEYSETS[keys], model(**changes))
    assert raised.value.text.startswith(
        f"try another --gr00t.codec than {keys}, or another --codec than puppet.declared: "
    )


@pytest.mark.parametrize(
    ("keys", "codec", "says"),
    [
        ("joints_traj", model(), "; the key sets that fit this model: ee_quat, ee_quat_joints, "),
        (None, model(), "; the key sets that fit this model: ee_quat, ee_quat_joints, "),
        ("ee_quat", own(), "; the key sets that fit this model: joints_traj"),
        ("ee_quat", model(conventions={"quaternion": "x y z w"}), "; no key set fits this model"),
    ],
)
def test_what_does_not_fit_is_told_what_would(keys, codec, says):
    with pytest.raises(DialectUnsupported) as raised:
        bridge(None if keys is None else KEYSETS[keys], codec)
    assert says in raised.value.text


def test_without_a_key_set_a_model_of_gr00ts_has_the_keys_of_its_codec():
    plain = ResolvedCodec(codec_of("ee_rot6d"), "gr00t.ee_rot6d", "default")
    assert bridge(None, plain) == bridge(KEYSETS["ee_rot6d"], plain)


def test_without_a_key_set_a_model_with_other_names_says_that_there_are_some():
    with pytest.raises(
        DialectUnsupported, match=r"^serve with --gr00t.codec, .* reads image.wrist, robot_state.ee_pos"
    ):
        bridge(None, model())


# -- over the wire --------------------------------------------------------------------------------------------------
READS = {
    "robot_state.ee_pose": Field(shape=(7,), dtype="float32"),
    "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8"),
    "task": Field(shape=(), dtype="str"),
}
ANSWERS = {"target_pose": Field(shape=(7,)), "target_grip": Field(shape=(1,))}


@contextlib.contextmanager
def serving(policy, codec):
    models = source({"a": lambda: policy}, inputs=READS, outputs=ANSWERS)
    listeners = make_listeners(Plugins.of(gr00t=offboard_gr00t), ["gr00t:0"], {"gr00t": {"codec": codec}})
    with InferenceServer({"only": models}, port=0, listeners=listeners, frontends={}) as server:
        yield server.listeners.addresses["gr00t"][1]


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("kind", gr00t_clients.ALL)
def test_a_gr00t_robot_drives_a_model_that_knows_no_gr00t(kind):
    """It goes a centimetre up from where the robot is, and the robot hears that in its own terms."""

    def rise(episode, inputs):
        episode.given = inputs
        pose = inputs["robot_state.ee_pose"] + [0, 0, 0.01, 0, 0, 0, 0]
        return Chunk({"target_pose": np.tile(pose, (2, 1)), "target_grip": np.zeros((2, 1))})

    policy = Puppet(rise, meta={"chunk_length": 2})
    asked = gr00t_clients.observation(
        kind, cameras=("wrist_image", "exterior_image_1"), groups={"ee_pose": 9, "grip": 1}, task="rise"
    )
    pose = np.float32([0.4, 0, 0.3, 0, 1, 0, -1, 0, 0])
    state = asked.get("state", asked)
    for name in ("ee_pose", "state.ee_pose"):
        if name in state:
            state[name] = pose.reshape(state[name].shape)
    with serving(policy, "ee_rot6d") as port, kind(port, timeout=PATIENCE) as client:
        answer = client.get_action(asked)
        configs = client.get_modality_config()
    given = policy.episodes[-1].given
    assert given.keys() >= READS.keys()
    assert given["task"] == "rise", "whatever the robot calls it"
    np.testing.assert_allclose(given["robot_state.ee_pose"][3:], [np.sqrt(0.5), 0, 0, -np.sqrt(0.5)], atol=1e-6)
    prefix = "action." if kind is gr00t_clients.N15Client else ""
    steps = answer if kind is gr00t_clients.N15Client else {name: value[0] for name, value in answer[0].items()}
    assert [*steps] == [f"{prefix}ee_pose", f"{prefix}grip"]
    np.testing.assert_allclose(steps[f"{prefix}ee_pose"], np.tile(pose, (2, 1)) + 0.01 * (np.arange(9) == 2), atol=1e-6)
    if kind is not gr00t_clients.N15Client:
        said = {name: (config["modality_keys"], config["delta_indices"]) for name, config in configs.items()}
        assert said == {
            "video": (["wrist_image", "exterior_image_1"], [0]),
            "state": (["grip", "ee_pose"], [0]),
            "action": (["ee_pose", "grip"], [0, 1]),
            "language": (["annotation.language.language_instruction"], [0]),
        }
