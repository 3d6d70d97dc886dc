import numpy as np
import pytest
from golden_codecs import observation
from offboard_client.errors import BadObservation
from offboard_core.codecs import StateVector, TaskText, binarize

codec = StateVector(name="state", parts={"robot_state.ee_pose": 7, "grip": 1, "robot_state.q": 7})


def test_the_parts_follow_one_another_in_order():
    state = codec.encode(observation())["state"]
    assert state.dtype == np.float32
    expected = [0.4, -0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.25, 0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7]
    np.testing.assert_allclose(state, expected, rtol=1e-7)


def test_training_sees_the_same_state():
    np.testing.assert_array_equal(codec.label(observation())["state"], codec.encode(observation())["state"])
    assert codec.features["state"].names == ("robot_state.ee_pose", "grip", "robot_state.q")
    assert codec.features["state"].shape == (15,)


@pytest.mark.parametrize("grip", [0.25, np.float32(0.25), np.array(0.25), np.array([0.25]), [0.25]])
def test_a_closure_is_a_scalar_or_one_number(grip):
    assert codec.encode(observation() | {"grip": grip})["state"][7] == np.float32(0.25)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("robot_state.q", np.zeros(6), r"robot_state\.q has the shape \(6,\), expected \(7,\)"),
        ("robot_state.q", np.zeros((1, 7)), r"shape \(1, 7\)"),
        ("robot_state.q", np.full(7, np.nan), "not finite"),
        ("robot_state.q", np.full(7, 1e300), "too large for float32"),
        ("robot_state.q", [[1], [1, 2]], "real numbers"),
        ("robot_state.q", "1234567", "real numbers"),
        ("robot_state.q", np.array([True] * 7), "real numbers"),
        ("robot_state.q", None, "real numbers"),
        ("grip", 1.06, r"grip is \[1\.05.*0 \(open\) to 1 \(closed\)"),
        ("grip", -0.06, "0 \\(open\\)"),
        ("grip", 80, "scale it on the robot"),
        ("grip", np.nan, "not finite"),
        ("robot_state.ee_pose", np.zeros(7), r"quaternion of robot_state\.ee_pose \(w x y z\) has length 0"),
        ("robot_state.ee_pose", [0.4, 0.0, 0.3, 0.98, 0.0, 0.0, 0.0], "length 0.98"),
        ("robot_state.ee_pose", [0.4, 0.0, 0.3, 0.0, 180.0, 0.0, 0.0], "a rotation has length 1"),
    ],
)
def test_what_is_not_that_state_is_refused(name, value, reason):
    with pytest.raises(BadObservation, match=reason):
        codec.encode(observation() | {name: value})


@pytest.mark.parametrize("grip", [-0.05, 0.0, 1.0, 1.05])
def test_a_closure_may_overshoot_a_little(grip):
    assert codec.encode(observation() | {"grip": grip})["state"][7] == np.float32(grip)


def test_a_second_arm_has_the_same_range():
    with pytest.raises(BadObservation, match=r"grip\.left"):
        StateVector(name="state", parts={"grip.left": 1}).encode({"grip.left": 2.0})


def test_a_missing_part_names_what_there_is():
    with pytest.raises(BadObservation, match=r"lacks 'grip'; it holds robot_state\.ee_pose, robot_state\.q"):
        codec.encode({k: v for k, v in observation().items() if k.startswith("robot_state")})


def test_half_closed_counts_as_open():
    np.testing.assert_array_equal(binarize(np.array([0.0, 0.5, 0.50001, 1.0])), [0, 0, 1, 1])


def test_the_observed_closure_is_binarized_only_on_request():
    parts = {"grip": 1}
    assert StateVector(name="s", parts=parts).encode({"grip": 0.7})["s"] == np.float32(0.7)
    upstream = StateVector(name="s", parts=parts, binarize_grip=True)
    assert upstream.encode({"grip": 0.7})["s"] == 1
    assert upstream.label({"grip": 0.7})["s"] == 1


def test_the_pose_may_enter_in_another_representation():
    six = StateVector(name="s", parts={"robot_state.ee_pose": 7, "grip": 1}, rotation="rot6d")
    np.testing.assert_allclose(
        six.encode(observation())["s"], [0.4, -0.1, 0.3, 0, 0, 1, 1, 0, 0, 0.25], atol=1e-6, rtol=0
    )
    assert six.features["s"].shape == (10,)
    with pytest.raises(BadObservation, match="length 0"):
        six.encode(observation() | {"robot_state.ee_pose": np.zeros(7)})


def test_the_meta_says_what_is_read_and_how_it_is_meant():
    assert codec.meta.observation["robot_state.q"].unit == "rad"
    assert codec.meta.observation["grip"].shape == (1,)
    assert codec.meta.conventions["quaternion"] == "w x y z"
    assert not StateVector(name="s", parts={"observation.state": 3}).meta.conventions


def test_the_task_is_a_text_that_may_be_missing():
    task = TaskText(name="prompt")
    assert task.encode({"task": "stack"}) == {"prompt": "stack"}
    assert task.encode({}) == {}
    assert task.encode({"task": None}) == {}
    assert not task.meta.observation["task"].required
    with pytest.raises(BadObservation, match="task is a int"):
        task.encode({"task": 3})
