import numpy as np
import pytest
from golden_codecs import GOLDEN, observation
from offboard_client.errors import InvalidAction
from offboard_core.codecs import ActionSplit, ActionVector, convert
from offboard_core.types import Chunk

POSE = {"target_pose": 7, "target_grip": 1}


def test_a_vector_becomes_named_actions():
    codec = ActionSplit(parts={"target_joints": 7, "target_grip": 1})
    rows = np.arange(16, dtype=np.float32).reshape(2, 8)
    made = codec.decode(Chunk(rows, np.array([0.0, 0.1])), {})
    np.testing.assert_array_equal(made.columns()["target_joints"], rows[:, :7])
    np.testing.assert_array_equal(made.columns()["target_grip"], rows[:, 7:])
    np.testing.assert_array_equal(made.timestamp, [0.0, 0.1])
    assert codec.meta.action["target_joints"].kind == "absolute_joints"
    assert codec.meta.action["target_grip"].kind == "grip"


@pytest.mark.parametrize(("name", "parts", "rotation"), [
    ("openpi.ee", POSE, "quat"), ("gr00t.ee_rot6d", {"target_pose": 9, "target_grip": 1}, "rot6d"),
])  # fmt: skip
def test_the_golden_poses(name, parts, rotation):
    case = GOLDEN["codecs"][name]
    codec = ActionSplit(parts=parts, rotation=rotation)
    made = codec.decode(Chunk(np.array([case["action_in_row0"]], np.float32)), {}).columns()
    expected = case["decoded_row0"]
    pose = made["target_pose"][0]
    twelve = np.concatenate([pose[:3], convert(pose[3:], "quat", "rotation_matrix")])
    np.testing.assert_allclose(twelve, expected["robot_command"]["pose"]["values"], atol=1e-5)
    np.testing.assert_allclose(made["target_grip"][0, 0], expected["target_grip"], atol=1e-6)
    assert codec.meta.action["target_pose"].shape == (7,)


def test_quaternions_leave_normalized():
    rows = np.array([[0, 0, 0, 0, 3, 0, 4, 1]], np.float32)
    pose = ActionSplit(parts=POSE).decode(Chunk(rows), {}).columns()["target_pose"]
    np.testing.assert_allclose(pose, [[0, 0, 0, 0, 0.6, 0, 0.8]])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (np.zeros((2, 8)), "no pose: a quaternion has almost no length"),
        (np.ones((2, 7)), r"\(2, 7\), the codec expects \(T, 8\): target_pose 7, target_grip 1"),
        (np.ones(8), r"\(8,\)"),
        (np.ones((1, 2, 8)), r"\(1, 2, 8\)"),
        (np.full((2, 8), np.nan), "not finite"),
        (np.full((2, 8), np.inf), "not finite"),
        (np.full((2, 8), "1"), "not finite"),
    ],
)
def test_what_must_not_reach_a_robot_is_refused(rows, reason):
    with pytest.raises(InvalidAction, match=reason):
        ActionSplit(parts=POSE).decode(Chunk(rows), {})


def test_nan_is_found_before_it_could_be_binarized():
    rows = np.ones((1, 8))
    rows[0, 7] = np.nan
    with pytest.raises(InvalidAction, match="not finite"):
        ActionSplit(parts=POSE, binarize_grip=True).decode(Chunk(rows), {})


def test_another_name_is_refused():
    with pytest.raises(InvalidAction, match=r"answered velocity, the codec expects 'action'"):
        ActionSplit(parts=POSE).decode(Chunk({"velocity": np.ones((1, 8))}), {})


def test_an_empty_chunk_stays_empty():
    assert len(ActionSplit(parts=POSE).decode(Chunk(np.zeros((0, 8))), {})) == 0


def test_closures_are_binarized_in_serving_and_in_training_alike():
    codec = ActionSplit(
        parts=POSE, binarize_grip=True, labels={"target_pose": "robot_state.ee_pose", "target_grip": "grip"}
    )
    rows = np.ones((3, 8), np.float32)
    rows[:, 7] = [0.2, 0.5, 0.51]
    np.testing.assert_array_equal(codec.decode(Chunk(rows), {}).columns()["target_grip"], [[0], [0], [1]])
    frame = observation() | {"grip": 0.7}
    np.testing.assert_allclose(codec.label(frame)["action"], [0.4, -0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 1])


def test_labels_are_what_was_commanded():
    codec = ActionSplit(
        parts={"target_pose": 9, "target_grip": 1},
        rotation="rot6d",
        labels={"target_pose": "target_pose", "target_grip": "target_grip"},
    )
    frame = {"target_pose": [1, 2, 3, 0.5, 0.5, 0.5, 0.5], "target_grip": 0.3}
    label = codec.label(frame)["action"]
    np.testing.assert_allclose(label, [1, 2, 3, 0, 0, 1, 1, 0, 0, 0.3], atol=1e-6)
    assert label.dtype == np.float32
    assert codec.features["action"].shape == (10,)
    # What was recorded is what the model will be asked for: decoding the label gives the command back.
    again = codec.decode(Chunk(label[None]), {}).columns()
    np.testing.assert_allclose(again["target_pose"][0], frame["target_pose"], atol=1e-6)


def test_without_labels_there_is_no_training_column():
    assert ActionSplit(parts=POSE).features == {}
    assert ActionSplit(parts=POSE).label(observation()) == {}


def test_a_vector_may_stay_as_it_is():
    codec = ActionVector(width=3)
    answer = Chunk(np.ones((2, 3)))
    assert codec.decode(answer, {}) is answer
    assert codec.meta.action["action"].kind == "vector"
    with pytest.raises(InvalidAction, match=r"\(2, 4\), the codec expects \(T, 3\)"):
        codec.decode(Chunk(np.ones((2, 4))), {})
