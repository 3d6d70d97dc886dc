"""PROTOCOL section 7: what each name of an observation means."""

import numpy as np
import offboard_core.scripted
import pytest
from frames import PIXELS
from offboard_core import Chunk, Field
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import robot


@pytest.mark.rule("O-1", "O-9", "O-11")
def test_every_name_is_taken_and_passes_untouched(world):
    frame = {
        "a.b.c": [1, 2], "sim.objects.cube": [0.0] * 7, "note": "hello", "flag": True, "ünïcode": 3, "nothing": None,
        "obs_time": 1763632800000000000,
    }  # fmt: skip
    found, reply = world(frame)
    assert "result" in reply
    assert found.keys() == frame.keys()
    np.testing.assert_array_equal(found["a.b.c"], [1, 2])
    assert found["note"] == "hello"
    assert found["obs_time"] == frame["obs_time"]


@pytest.mark.rule("O-8")
@pytest.mark.parametrize(
    ("old", "canonical"),
    [
        ("ee_pose", "robot_state.ee_pose"), ("joint_positions", "robot_state.q"), ("wrist_image", "image.wrist"),
        ("exterior_image", "image.exterior"), ("prompt", "task"), ("instruction", "task"),
    ],
)  # fmt: skip
def test_the_older_names_are_understood(world, old, canonical):
    value = "stack" if canonical == "task" else [0, 1, 2]
    found, _ = world({old: value})
    assert found.keys() == {canonical}


@pytest.mark.rule("O-8", "L-3")
def test_one_thing_under_two_names_is_refused(world):
    found, reply = world({"prompt": "stack", "task": "unstack"})
    assert found is None
    assert reply["code"] == "bad_observation"
    assert "task" in reply["error"]


@pytest.mark.rule("O-8", "O-9")
def test_a_name_that_the_model_itself_declares_is_left_alone():
    declared = {"prompt": Field(dtype="str"), "wrist_image": Field(shape=(-1, -1, 3), dtype="uint8")}
    seen = []

    def look(episode, inputs):
        seen.append(inputs)
        return Chunk(np.zeros((1, 2)))

    models = source({"a": lambda: Puppet(look)}, inputs=declared)
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        one.opened()
        assert "result" in one.ask({"prompt": "stack", "wrist_image": PIXELS})
    assert seen[0].keys() == {"prompt", "wrist_image"}


ROBOT = {
    "robot_state.ee_pose": Field(shape=(7,), dtype="float32"),
    "robot_state.q": Field(shape=(7,), dtype="float32", unit="rad"),
    "robot_state.dq": Field(shape=(7,), dtype="float32", unit="rad/s", required=False),
    "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8", required=False),
    "task": Field(dtype="str", required=False),
}
STATE = {"robot_state.ee_pose": np.array([0.4, 0, 0.3, 1, 0, 0, 0]), "robot_state.q": np.zeros(7)}


@pytest.mark.rule("O-1", "O-2", "O-3", "O-5", "O-6", "M-3", "O-10")
def test_what_the_model_declares_is_checked_before_it():
    with InferenceServer({"only": source({"a": Puppet}, inputs=ROBOT)}, port=0) as server, robot(server) as one:
        one.opened()
        more = {"robot_state.dq": np.zeros(7), "image.wrist": PIXELS, "task": "stack", "extra": 1}
        assert "result" in one.ask({**STATE, **more})
        for wrong in (
            {"robot_state.ee_pose": np.zeros(6)},
            {"robot_state.q": np.array([0, 0, np.nan, 0, 0, 0, 0])},
            {"robot_state.q": np.zeros((1, 7))},
            {"robot_state.dq": "fast"},
            {"image.wrist": PIXELS.astype(np.float32) / 255},
            {"image.wrist": PIXELS[..., :1]},
            {"task": 3},
            {"robot_state.q": None},
        ):
            reply = one.ask({**STATE, **wrong})
            assert reply["code"] == "bad_observation", wrong
            assert next(iter(wrong)) in reply["error"]
        missing = one.ask({"robot_state.ee_pose": np.zeros(7), "robot_state.Q": np.zeros(7)})
        assert "did you mean" in missing["error"], "named, and not used"
        assert "result" in one.ask(STATE)


@pytest.mark.rule("O-7")
def test_two_arms_are_told_apart_by_the_arms_name():
    names = ["robot_state.left.q", "robot_state.right.q", "grip.left", "grip.right"]
    seen = []

    def both(episode, inputs):
        seen.append(inputs)
        return Chunk({f"target_joints.{arm}": np.full((2, 7), value) for arm, value in (("left", 1.0), ("right", 2.0))})

    outputs = {f"target_joints.{arm}": Field(shape=(7,), kind="absolute_joints") for arm in ("left", "right")}
    inputs = {name: Field(shape=(7,) if name.endswith("q") else (1,), dtype="float32") for name in names}
    models = source({"a": lambda: Puppet(both)}, inputs=inputs, outputs=outputs)
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        assert meta["action"].keys() == outputs.keys()
        rows = one.ask({name: np.full(7 if name.endswith("q") else 1, i / 10) for i, name in enumerate(names)})[
            "result"
        ]
    assert seen[0].keys() == set(names)
    assert rows[0]["action"]["target_joints.right"].tolist() == [2.0] * 7


@pytest.fixture(scope="module")
def scripted():
    models = from_flags(Plugins.of(scripted=offboard_core.scripted), vendor="scripted")
    with InferenceServer({"scripted": models}, port=0) as server:
        yield server


POSE = [0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0]
SCENE = {"robot_state.ee_pose": POSE} | {f"sim.objects.{name}_cube": POSE for name in ("red", "green", "blue")}


@pytest.mark.rule("O-4")
@pytest.mark.parametrize("grip", [0.5, [0.5], np.float32(0.5), np.array(0.5), np.array([0.5]), -0.05, 1.05])
def test_grip_may_be_a_number_or_one_in_a_list(scripted, grip):
    with robot(scripted) as one:
        one.opened()
        assert "result" in one.ask({**SCENE, "grip": grip})


@pytest.mark.rule("O-4")
@pytest.mark.parametrize("grip", [-0.06, 1.06, 80, [0.5, 0.5], float("nan"), "half", True])
def test_a_grip_that_is_no_closure_is_refused(scripted, grip):
    with robot(scripted) as one:
        one.opened()
        reply = one.ask({**SCENE, "grip": grip})
        assert reply["code"] == "bad_observation"
        assert "grip" in reply["error"]


@pytest.mark.rule("O-2")
def test_a_pose_is_a_translation_and_a_unit_quaternion(scripted):
    with robot(scripted) as one:
        one.opened()
        degrees = {**SCENE, "grip": 0.5, "robot_state.ee_pose": [0.4, 0.0, 0.3, 0.0, 180.0, 0.0, 0.0]}
        assert one.ask(degrees)["code"] == "bad_observation"
        unmeasured = {**SCENE, "grip": 0.5, "robot_state.ee_pose": [0.0] * 7}
        assert "length 0" in one.ask(unmeasured)["error"]
