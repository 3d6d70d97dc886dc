"""A robot's actions in the model's terms again: what every codec makes of what it made."""

import numpy as np
import pytest
from golden_codecs import GOLDEN, observation
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import BadObservation
from offboard_core.codecs import WIDTHS, ActionSplit, ActionTiming, ActionVector, convert_pose, timed
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, Chunk, Field
from same_actions import assert_same_actions

PLUGINS = Plugins.discover()
POSE = {"target_pose": 7, "target_grip": 1}
#: Codecs whose decoding loses something, and a word of why.
ONE_WAY = {
    **dict.fromkeys(("lerobot.ee_traj", "lerobot.joints_traj"), "grip"),
    **dict.fromkeys(("openpi.ee_traj", "openpi.ee_joints_traj", "openpi.joints_traj"), "grip"),
    "openpi.droid": "velocities are clipped and the grip",
    "openpi.droid_jointpos": "grip",
    "openpi.libero": "clipped as robosuite clips them",
}
#: Numbers in a step of the others' models.
NUMBERS = {"core.native": 8, "scripted.poses": 8, "openpi.aloha": 14, "openpi.native": 8, "lerobot.native": 8}


def codec_of(offer):
    outputs = {"action": Field(shape=(8,), dtype="float32")} if offer.name.endswith("native") else {}
    if offer.name == "lerobot.motors":
        vector = Field(shape=(8,), dtype="float32")
        named = offer.options()(units="degrees", names=tuple("abcdefgh"))
        return offer.make(named, Checkpoint(id="it", inputs={"observation.state": vector}, outputs={"action": vector}))
    return offer.make(offer.options()(), Checkpoint(id="it", outputs=outputs))


def offers():
    return [
        offer for offer in PLUGINS.offers(CODEC) if offer.provider.name in ("core", "scripted", "lerobot", "openpi")
    ]


def steps(count, numbers, seed=0):
    rows = np.random.default_rng(seed).uniform(-1, 1, (count, numbers)).astype(np.float32)
    rows[:, -1] = np.linspace(0, 1, count)
    if numbers == 14:
        rows[:, [6, 13]] = np.linspace(0, 1, count)[:, None]
    return rows


@pytest.mark.parametrize("offer", offers(), ids=lambda offer: offer.name)
def test_every_codec_undoes_what_it_decodes_or_says_why_it_cannot(offer):
    codec = codec_of(offer)
    if offer.name in ONE_WAY:
        assert ONE_WAY[offer.name] in codec.one_way
        with pytest.raises(NotImplementedError, match=ONE_WAY[offer.name]):
            codec.encode_actions(Chunk(np.zeros((1, 8))), {})
        return
    assert codec.one_way is None
    made = codec.decode(Chunk(steps(5, NUMBERS.get(offer.name, 8))), observation())
    back = codec.encode_actions(made, observation())
    assert set(back.columns()) == {"action"}
    assert_same_actions(codec.decode(back, observation()), made)


def test_the_list_of_those_that_lose_something_names_codecs_that_exist():
    assert ONE_WAY.keys() <= {offer.name for offer in offers()}


@pytest.mark.parametrize("name", [name for name in GOLDEN["codecs"] if not name.endswith("joints_traj")])
def test_what_positronic_made_of_a_golden_row_is_that_row_again(name):
    case = GOLDEN["codecs"][name]
    rotation = "rot6d" if name.endswith("rot6d") else "quat"
    codec = timed(ActionSplit(parts={**POSE, "target_pose": 3 + WIDTHS[rotation]}, rotation=rotation), 15.0, 1.0)
    twelve = np.array([case["decoded_row0"]["robot_command"]["pose"]["values"]])
    pose = convert_pose(twelve, "rotation_matrix", "quat")
    played = Chunk({"target_pose": pose, "target_grip": np.array([[case["decoded_row0"]["target_grip"]]])})
    back = codec.encode_actions(played, {}).columns()["action"]
    row = np.array([case["action_in_row0"]])
    # A model's rotation need not be one; what is played is: its matrix, the first two rows of it, a unit quaternion.
    turn = twelve[:, 3:9] if rotation == "rot6d" else row[:, 3:7] / np.linalg.norm(row[:, 3:7])
    sign = np.sign(np.sum(turn * back[:, 3:-1]))
    np.testing.assert_allclose(back[:, 3:-1] * sign, turn, atol=1e-6)
    np.testing.assert_allclose(back[:, [0, 1, 2, -1]], row[:, [0, 1, 2, -1]], atol=1e-6)


numbers = st.floats(-3, 3).map(lambda value: round(value, 6))


@pytest.mark.parametrize("rotation", WIDTHS)
@given(quat=st.lists(numbers, min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1), rest=numbers)
def test_a_pose_comes_back_from_every_representation(rotation, quat, rest):
    unit = np.array(quat) / np.linalg.norm(quat)
    made = Chunk({"target_pose": np.array([[rest, 0.1, -rest, *unit]]), "target_grip": np.array([[0.3]])})
    codec = ActionSplit(parts={**POSE, "target_pose": 3 + WIDTHS[rotation]}, rotation=rotation)
    assert_same_actions(codec.decode(codec.encode_actions(made, {}), {}), made, atol=1e-7)


def test_times_are_left_to_the_codec_that_states_them():
    codec = ActionTiming(10) | ActionVector(width=2)
    made = codec.decode(Chunk(np.ones((3, 2))), {})
    assert codec.encode_actions(made, {}).timestamp is None
    own = Chunk(np.ones((2, 2)), np.array([0.0, 0.7]))
    assert ActionVector(width=2).encode_actions(own, {}).timestamp.tolist() == [0.0, 0.7], "nobody else states them"


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ({"target_grip": np.ones((1, 1))}, r"hold target_grip \(1, 1\), expected target_pose \(T, 7\)"),
        ({}, "hold nothing, expected target_pose"),
        ({"target_pose": np.ones((1, 6)), "target_grip": np.ones((1, 1))}, r"target_pose \(1, 6\)"),
        ({"target_pose": np.zeros((1, 7)), "target_grip": np.ones((1, 1))}, "no pose: a quaternion has almost no"),
        ({"target_pose": np.ones((1, 7)), "target_grip": np.ones((1, 2))}, r"expected target_grip \(T, 1\)"),
    ],
)
def test_actions_that_the_codec_does_not_make_are_the_robots_mistake(actions, reason):
    with pytest.raises(BadObservation, match=reason):
        ActionSplit(parts=POSE).encode_actions(Chunk(actions), {})
    with pytest.raises(BadObservation, match="expected action"):
        ActionVector(width=8).encode_actions(Chunk(actions), {})
