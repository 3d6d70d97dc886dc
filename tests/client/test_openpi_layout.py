"""What a person says of a stock openpi server's keys and columns, and what becomes of observations and actions."""

import numpy as np
import pytest
from offboard_client import BadObservation, ConfigurationError, InvalidAction
from offboard_client.protocol import LAYOUTS, check_meta, said_layout

KEYS = ("observation/state=robot_state.q:6,1-grip:1", "images:top=image.top", "prompt=task")
ACTIONS = ("target_joints:6", "1-target_grip:1")
IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
ROBOT = {"robot_state.q": np.arange(6) / 10, "grip": 0.25, "image.top": IMAGE, "task": "go", "unread": 1}


def own(**more):
    return said_layout(**{"fps": 10, "keys": KEYS, "actions": ACTIONS, **more})


def test_the_keys_are_those_that_were_said():
    made = own().encode(ROBOT)
    assert list(made) == ["observation/state", "images", "prompt"]
    state = made["observation/state"]
    assert state.dtype == np.float32
    np.testing.assert_array_equal(state, np.float32([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75]))
    np.testing.assert_array_equal(made["images"]["top"], IMAGE)
    assert made["prompt"] == "go"


def test_images_in_another_order_and_size():
    pytest.importorskip("PIL")
    made = own(channels_first=True, resize=8).encode(ROBOT)["images"]["top"]
    assert made.shape == (3, 8, 8)
    assert not made[:, 0].any()  # a black bar
    np.testing.assert_array_equal(own(resize=(6, 4)).encode(ROBOT)["images"]["top"], IMAGE)


def test_the_columns_are_those_that_were_said():
    rows = np.arange(14.0).reshape(2, 7) / 14
    made = own().decode(rows)
    assert list(made) == ["target_joints", "target_grip"]
    np.testing.assert_array_equal(made["target_joints"], rows[:, :6])
    np.testing.assert_array_equal(made["target_grip"], 1 - rows[:, 6:])
    assert len(own(steps=1).decode(rows)["target_grip"]) == 1


def test_a_rotation_is_read_as_it_was_said_to_be_written():
    layout = own(keys=("s=robot_state.ee_pose:quat_xyzw", *KEYS[2:]), actions=("target_pose:rotvec", "target_grip:1"))
    pose = np.array([0.1, 0.2, 0.3, 0.5, 0.5, -0.5, 0.5])
    sent = layout.encode({"robot_state.ee_pose": pose, "task": "go"})["s"]
    np.testing.assert_allclose(sent, [0.1, 0.2, 0.3, 0.5, -0.5, 0.5, 0.5], atol=1e-7)
    made = layout.decode(np.array([[0.1, 0.2, 0.3, np.pi, 0, 0, 0.5]]))["target_pose"]
    np.testing.assert_allclose(made, [[0.1, 0.2, 0.3, 0, 1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"robot_state.q": np.full(6, np.nan)}, "robot_state.q is .*nan.*expected 6 finite numbers"),
        ({"robot_state.q": np.full(6, 1e39)}, "too large to be sent as float32"),
        ({"robot_state.q": np.zeros(7)}, "expected 6 finite numbers"),
        ({"robot_state.q": "zero"}, "expected 6 numbers"),
        ({"robot_state.q": None}, "robot_state.q is None|expected 6 finite"),
        ({"image.top": IMAGE / 255}, r"image.top is \(4, 6, 3\) float64; expected an image"),
        ({"image.top": b"no JPEG"}, "image.top: 7 bytes are not a JPEG"),
        ({"image.top": None}, "image.top is None"),
        ({"task": " "}, "expected the instruction"),
        ({"task": None}, "expected the instruction"),
    ],
)
def test_what_openpi_would_answer_with_nonsense_is_not_sent(wrong, reason):
    if isinstance(wrong.get("image.top"), bytes):
        pytest.importorskip("PIL")
    with pytest.raises(BadObservation, match=reason):
        own().encode({**ROBOT, **wrong})


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (None, "answered None as actions; expected one step or more of 7 numbers: target_joints 6, target_grip 1"),
        (np.zeros((2, 8)), r"an array \(2, 8\)"),
        (np.zeros(7), r"an array \(7,\)"),
        (np.zeros((0, 7)), r"an array \(0, 7\)"),
        (np.where(np.arange(7) == 3, np.nan, np.zeros((2, 7))), "not all finite"),
        (np.full((1, 7), np.inf), "not all finite"),
        (np.zeros((1, 7), bool), "not all finite numbers"),
        ([[0.0] * 7], "as actions"),
    ],
)
def test_what_is_no_chunk_is_not_played(actions, reason):
    with pytest.raises(InvalidAction, match=reason):
        own().decode(actions)


def test_a_rotation_of_no_length_is_none():
    layout = own(actions=("target_pose:quat", "target_grip:1"))
    with pytest.raises(InvalidAction, match="target_pose that is no pose"):
        layout.decode(np.zeros((1, 8)))
    with pytest.raises(BadObservation, match=r"robot_state\.ee_pose is no pose"):
        own(keys=("s=robot_state.ee_pose:rotvec",)).encode({"robot_state.ee_pose": np.zeros(7)})


def test_integers_are_actions_too():
    assert own().decode(np.ones((2, 7), np.int8))["target_joints"].dtype == np.float64


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_known_layout_says_all_that_a_handshake_has_to(name):
    layout = said_layout(name)
    meta = layout.meta({"reset_pose": np.zeros(6), "nested": [{"x": np.float32(1)}]})
    check_meta(meta)
    assert meta["openpi"] == {"reset_pose": [0.0] * 6, "nested": [{"x": 1.0}]}
    whole = None if layout.steps is None else layout.steps / meta["action_fps"]
    assert meta.get("action_horizon_sec") == whole
    assert set(layout.decode(np.zeros((1, sum(part.width for part in layout.actions))))) == set(meta["action"])


def test_what_is_said_rules_over_a_known_layout():
    layout = said_layout("droid", fps=10, keys=("observation/wrist_image_left=image.left",), steps=15)
    assert "image.left" in layout.observation
    assert "image.wrist" not in layout.observation
    assert layout.meta({})["action_horizon_sec"] == 1.5
    assert said_layout("droid", actions=("target_joints:7", "target_grip:1")).meta({})["action"].keys() == {
        "target_joints",
        "target_grip",
    }


def test_a_velocity_far_outside_its_range_is_of_another_policy():
    rows = np.zeros((1, 8))
    rows[0, 2] = -3.5
    with pytest.raises(InvalidAction, match=r"answered 3\.5 for joint_delta, where it has -1 to 1"):
        said_layout("droid").decode(rows)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            {},
            r"say --fps HZ, --keys KEY=NAME:WIDTH …, --actions NAME:WIDTH …; or --layout droid, droid_j",
        ),
        ({"fps": 10.0, "actions": ACTIONS}, "say --keys KEY=NAME:WIDTH …; or"),
        ({"keys": KEYS, "actions": ACTIONS}, "say --fps HZ; or"),
        ({"layout": "driod"}, "no layout 'driod'.*droid"),
        ({"layout": "droid", "fps": 0.0}, "--fps is 0; expected steps per second"),
        ({"layout": "droid", "fps": float("nan")}, "--fps is nan"),
        ({"layout": "droid", "steps": 0}, "--steps is 0"),
        ({"layout": "droid", "resize": 0}, "--resize is 0"),
        ({"layout": "droid", "resize": (224, 9000)}, "--resize is"),
        ({"layout": "droid", "keys": ("observation/state",)}, "write KEY=NAME"),
        ({"layout": "droid", "keys": (":x=image.wrist",)}, "write KEY=NAME"),
        ({"layout": "droid", "keys": ("s=robot_state.q",)}, "'robot_state.q' does not say how it is written"),
        ({"layout": "droid", "keys": ("s=robot_state.q:many",)}, "has no width"),
        ({"layout": "droid", "keys": ("s=robot_state.q:0",)}, "has no width"),
        ({"layout": "droid", "keys": ("s=robot_state.ee_pose:7",)}, "does not say how it is written.*quat_xyzw"),
        ({"layout": "droid", "keys": ("s=1-robot_state.q:7",)}, "only a grip can be the other way round"),
        ({"layout": "droid", "keys": ("s=image.a:3,image.b:3",)}, "image.a is no part of a vector"),
        ({"layout": "droid", "keys": ("s=robot_state.q:7", "s=grip:1")}, "--keys says twice what s is"),
        ({"layout": "droid", "actions": ("joints:7",)}, "there is no action 'joints'.*target_joints"),
        ({"layout": "droid", "actions": ("target_grip:2",)}, "a grip is 1 number"),
        ({"layout": "droid", "actions": ("target_joints:7", "target_joints:7")}, "says twice what target_joints is"),
    ],
)
def test_what_is_not_said_or_not_understood_is_refused(said, reason):
    with pytest.raises(ConfigurationError, match=reason):
        said_layout(**said)
