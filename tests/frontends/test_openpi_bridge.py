"""What openpi's robots say, in canonical terms and back: the inverse of the codecs, and never a guess."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_core.catalog import ResolvedCodec
from offboard_core.codecs import CONVENTIONS
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Field
from offboard_openpi.arm import POSE_ACTION
from offboard_openpi.bridge import bridge
from offboard_openpi.keysets import KEYSETS
from offboard_openpi.loader import OpenPILoader
from offboard_openpi.options import Keys, OpenPIOptions
from same_actions import assert_same_actions

PLUGINS = Plugins.discover()


def codec_of(name):
    offer = PLUGINS.get(CODEC, name, "openpi")
    return offer.make(offer.options()(), Checkpoint(id="it"))


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (224, 224, 3), dtype=np.uint8)


def unit(*numbers):
    return np.array(numbers) / np.linalg.norm(numbers)


CANONICAL = {
    "robot_state.ee_pose": np.concatenate([[0.4, -0.1, 0.3], unit(0.9, 0.1, -0.3, 0.2)]).astype(np.float32),
    "robot_state.q": np.float32([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7]),
    "grip": np.float32([0.25]),
    "robot_state.left.q": np.float32([0.1, -0.2, 0.3, -1.4, 0.5, 1.6]),
    "robot_state.right.q": np.float32([-0.1, 0.2, -0.3, 1.4, -0.5, -1.6]),
    "grip.left": np.float32([0.75]),
    "grip.right": np.float32([0.0]),
    "image.wrist": picture(1),
    "image.exterior": picture(2),
    "image.low": picture(3),
    "task": "pick up the cube",
}


def test_every_key_set_can_be_named_and_is_that_of_a_codec():
    assert set(get_args(Keys)) == set(KEYSETS)
    assert {f"openpi.{name}" for name in KEYSETS} | {"openpi.native"} == {
        offer.name for offer in PLUGINS.offers(CODEC) if offer.provider.name == "openpi"
    }


@pytest.mark.parametrize("name", KEYSETS)
def test_an_observation_that_the_codec_made_is_read_back(name):
    keys = KEYSETS[name]
    encoded = codec_of(name).encode(CANONICAL)
    assert encoded.keys() == keys.keys
    read = keys.to_canonical({**encoded, "more": 1})
    assert read.pop("more") == 1
    assert read.keys() == keys.provides - ({"image.left.wrist", "image.right.wrist"} if name == "aloha" else set())
    for canonical, value in read.items():
        if canonical == "task" or canonical.startswith("image"):
            np.testing.assert_array_equal(value, CANONICAL[canonical])
        else:
            np.testing.assert_allclose(value, CANONICAL[canonical], atol=1e-6)


@pytest.mark.parametrize("name", KEYSETS)
def test_an_action_that_the_codec_read_is_made_again(name):
    keys, codec = KEYSETS[name], codec_of(name)
    random = np.random.default_rng(5)
    steps = random.uniform(-1, 1, (4, sum(keys.actions.values())))
    steps[:, -1] = [0, 1, 1, 0]
    if "target_pose" in keys.actions:
        steps[:, 3:7] /= np.linalg.norm(steps[:, 3:7], axis=1, keepdims=True)
    columns = codec.decode(Chunk(steps), CANONICAL).columns()
    assert keys.actions.keys() == columns.keys()
    played = keys.from_canonical(columns)
    np.testing.assert_allclose(np.concatenate([*played.values()], axis=1), steps, atol=1e-9)
    assert_same_actions(Chunk(keys.actions_to_canonical(played)), Chunk(columns))


def test_a_rotation_goes_the_short_way_round_whatever_the_sign_of_its_quaternion():
    pose = np.concatenate([[0.01, 0, 0], -unit(1, 0.1, 0, 0)])
    played = KEYSETS["libero"].from_canonical({"pose_delta": pose[None], "target_grip": np.zeros((1, 1))})
    np.testing.assert_allclose(played["delta_pose"], [[0.2, 0, 0, 2 * np.arctan(0.1) / 0.5, 0, 0]], atol=1e-12)
    np.testing.assert_array_equal(played["gripper"], [[-1]])


@pytest.mark.parametrize(
    ("name", "columns", "says"),
    [
        ("droid", {"joint_delta": np.full((2, 7), 0.3), "target_grip": np.zeros((2, 1))}, "0.3 rad in one step"),
        ("libero", {"pose_delta": np.tile([0.2, 0, 0, 1, 0, 0, 0], (2, 1)), "target_grip": np.zeros((2, 1))}, "0.2 m"),
        ("libero", {"pose_delta": np.tile([0, 0, 0, 0, 1, 0, 0], (2, 1)), "target_grip": np.zeros((2, 1))}, "3.14 rad"),
        ("ee", {"target_joints": np.zeros((2, 7)), "target_grip": np.zeros((2, 1))}, "one is never made of the other"),
        (
            "joints_traj",
            {"target_joints": np.zeros((2, 6)), "target_grip": np.zeros((2, 1))},
            r"answers target_joints \(6\), target_grip \(1\), the robot plays target_joints \(7\)",
        ),
    ],
)
def test_what_the_robot_cannot_play_is_not_sent(name, columns, says):
    with pytest.raises(InvalidAction, match=says):
        KEYSETS[name].from_canonical(columns)


@pytest.mark.parametrize(
    "images", [3, {"cam_high": np.zeros((224, 224, 3), np.uint8)}, {"cam_high": "a picture"}, [picture(1)]]
)
def test_alohas_images_must_be_what_it_sends(images):
    with pytest.raises(BadObservation, match="images"):
        KEYSETS["aloha"].to_canonical({"state": np.zeros(14), "images": images})


# -- back again ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("keys", [None, *KEYSETS])
def test_the_robots_one_vector_becomes_the_models_actions_again(keys):
    keys = KEYSETS.get(keys)
    widths = POSE_ACTION if keys is None else keys.actions
    declared = {name: Field(shape=(7 if name == "pose_delta" else width,)) for name, width in widths.items()}
    plain = ResolvedCodec(Plain(CodecMeta(action=declared)), "puppet.declared", "default")
    codec = bridge(keys, plain)[0].codec
    random = np.random.default_rng(3)
    columns = {name: random.uniform(0, 0.04, (4, *field.shape)) for name, field in declared.items()}
    for name in columns.keys() & {"target_pose", "pose_delta"}:
        columns[name][:, 3:] = [unit(0.99, 0.1, 0.05, 0.02)] * 4
    played = codec.decode(Chunk(columns), {})
    assert codec.one_way is None
    assert_same_actions(codec.encode_actions(played, {}), Chunk(columns))
    with pytest.raises(BadObservation, match=r"the actions hold other \(4, 1\), expected actions \(T, "):
        codec.encode_actions(Chunk({"other": np.ones((4, 1))}), {})


def test_openpis_own_robot_on_openpis_own_model_needs_no_translation_back():
    codec, *_ = bridge(KEYSETS["droid"], ResolvedCodec(codec_of("droid"), "openpi.droid", "default"))
    steps = np.random.default_rng(2).uniform(-1, 1, (3, 8))
    played = codec.decode(Chunk(steps), {})
    assert codec.codec.one_way is None, "what the robot plays is what the model answered"
    np.testing.assert_array_equal(codec.encode_actions(played, {}).columns()["action"], steps)


def test_a_vector_that_nobody_described_is_not_taken_apart():
    codec, *_ = bridge(None, ResolvedCodec(Plain(CodecMeta()), "puppet.plain", "default"))
    assert "does not declare what its actions are made of" in codec.codec.one_way
    with pytest.raises(NotImplementedError, match="does not declare"):
        codec.encode_actions(Chunk({"actions": np.ones((1, 2))}), {})


# -- which of the three ways ---------------------------------------------------------------------------------------
POSE = Field(shape=(7,), dtype="float32")
MODEL = CodecMeta(
    observation={"robot_state.ee_pose": POSE, "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8")},
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


POSE = [0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "wrong", [{"target_pose": np.zeros((2, 7))}, {"target_pose": np.ones((2, 3))}, {"target_grip": np.full((2, 1), 7)}]
)
@pytest.mark.parametrize("keys", [None, "ee"])
def test_a_name_of_the_protocol_is_checked_before_it_becomes_columns(keys, wrong):
    codec, *_ = bridge(KEYSETS[keys] if keys else None, model())
    good = {"target_pose": np.tile(POSE, (2, 1)), "target_grip": np.ones((2, 1))}
    with pytest.raises(InvalidAction, match=r"target_(pose|grip)"):
        codec.decode(Chunk({**good, **wrong}), {})


def test_without_a_key_set_names_pass_through_and_actions_are_joined_in_the_declared_order():
    codec, layout, _ = bridge(None, model())
    assert codec.meta.observation == MODEL.observation
    assert layout == [("target_pose", 7), ("target_grip", 1)]
    assert codec.meta.action["actions"].shape == (8,)
    made = codec.decode(Chunk({"target_grip": np.ones((2, 1)), "target_pose": np.tile(POSE, (2, 1))}), {})
    np.testing.assert_array_equal(made.columns()["actions"], np.tile([*POSE, 1.0], (2, 1)))


def test_several_actions_that_nobody_declared_have_no_order():
    codec, layout, _ = bridge(None, resolved(CodecMeta()))
    assert (layout, codec.meta.action) == ([], {})
    assert codec.decode(Chunk(np.ones((2, 3))), {}).columns()["actions"].shape == (2, 3)
    assert codec.decode(Chunk({"target_grip": np.ones((2, 1))}), {}).columns()["actions"].shape == (2, 1)
    with pytest.raises(InvalidAction, match="the order declared for one vector of them is none"):
        codec.decode(Chunk({"b": np.ones((2, 1)), "a": np.ones((2, 1))}), {})


def test_a_key_set_is_translated_and_asks_for_what_the_model_needs():
    codec, layout, _ = bridge(KEYSETS["ee"], model())
    fields = codec.meta.observation
    assert {name: field.required for name, field in fields.items()} == {
        "observation/state": True, "observation/wrist_image": True, "observation/image": False, "prompt": False,
    }  # fmt: skip
    assert layout == [("target_pose", 7), ("target_grip", 1)]
    assert codec.meta.image_sizes == {"observation/wrist_image": (320, 240)}
    assert codec.meta.action_fps == 10
    inputs = codec.encode({"observation/state": np.arange(8.0), "observation/wrist_image": picture(1), "prompt": "go"})
    np.testing.assert_array_equal(inputs["robot_state.ee_pose"], np.arange(7.0))
    assert inputs["task"] == "go"


def test_a_model_that_reads_the_robots_own_names_gets_them():
    own = CodecMeta(observation={"observation/state": Field(shape=(8,))}, action={"action": Field(shape=(7,))})
    codec, layout, _ = bridge(KEYSETS["libero"], resolved(own))
    assert codec.encode({"observation/state": 1, "prompt": "go"}) == {"observation/state": 1, "prompt": "go"}
    assert layout == [("action", 7)]


def test_a_model_that_reads_the_robots_names_and_answers_something_else_is_refused():
    own = CodecMeta(observation={"observation/state": Field(shape=(8,))}, action={"action": Field(shape=(8,))})
    with pytest.raises(
        DialectUnsupported, match=r"plays delta_pose \(6\), gripper \(1\), the model answers action \(8\)"
    ):
        bridge(KEYSETS["libero"], resolved(own))


@pytest.mark.parametrize(("config", "fits"), [("pi05_droid", True), ("pi05_full_droid_finetune", False)])
def test_openpis_own_positions_are_not_played_as_velocities(config, fits):
    """Both configs take the same names and answer eight numbers."""
    described = OpenPILoader(OpenPIOptions(config_name=config)).enrich(Checkpoint(id="it"))
    offer = PLUGINS.get(CODEC, "native", "openpi")
    codec = ResolvedCodec(offer.make(offer.options()(), described), "openpi.native", "given")
    if fits:
        assert bridge(KEYSETS["droid"], codec)[1] == [("action", 8)]
    else:
        with pytest.raises(DialectUnsupported, match="plays joint_velocity, the model answers absolute_joints"):
            bridge(KEYSETS["droid"], codec)


JOINTS = {"target_joints": Field(shape=(7,)), "target_grip": Field(shape=(1,))}


@pytest.mark.parametrize(
    ("keys", "changes", "says"),
    [
        ("joints_traj", {}, "the model reads robot_state.ee_pose, which the robot does not send"),
        ("ee", {"action": JOINTS}, r"plays target_pose \(7\), target_grip \(1\), the model answers target_joints"),
        (
            "joints_traj",
            {"observation": {}},
            r"plays target_joints \(7\), target_grip \(1\), the model answers target_p",
        ),
        ("droid", {"observation": {}}, r"plays joint_velocity \(7\), gripper_position \(1\), the model answers target"),
        (
            "joints_traj",
            {"observation": {}, "action": {**JOINTS, "target_joints": Field(shape=(6,))}},
            r"target_joints \(7\), .* answers target_joints \(6\)",
        ),
        ("ee", {"action": {"action": Field(shape=(8,))}}, r"the model answers action \(8\)"),
        (
            "ee",
            {"conventions": {"quaternion": "x y z w"}},
            "quaternion is 'w x y z' for the robot, 'x y z w' for",
        ),
        (
            "libero",
            {"action": {"pose_delta": Field(shape=(7,)), "target_grip": Field(shape=(1,))}},
            "frame is \"LIBERO's world",
        ),
        (
            "droid",
            {"observation": {}, "action": {"joint_delta": Field(shape=(7,)), "target_grip": Field(shape=(1,))}},
            "the robot plays 15 steps per second, the model's are made for 10",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides_named(keys, changes, says):
    with pytest.raises(DialectUnsupported, match=says) as raised:
        bridge(KEYSETS[keys], model(**changes))
    advice = f"try another --openpi.codec than {keys}, or --codec than puppet.declared: "
    assert raised.value.text.startswith(advice)
    assert len(advice) < 80, "openpi's client shows no more than a hundred characters"


def test_the_codec_of_the_same_keys_is_left_out():
    codec, layout, _ = bridge(KEYSETS["droid"], resolved(name="openpi.droid"))
    assert layout == [("joint_velocity", 7), ("gripper_position", 1)]
    sent = {"observation/joint_position": np.ones(7)}
    assert codec.encode(sent) == sent
    made = codec.decode(Chunk(np.full((3, 8), 1.5)), sent).columns()["actions"]
    np.testing.assert_array_equal(made, np.full((3, 8), 1.5))
