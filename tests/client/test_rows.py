"""The rows that a robot is handed: one form, and nothing under a name of the protocol that it cannot mean."""

import numpy as np
import pytest
from offboard_client import BadMessage, InvalidAction
from offboard_client.wire import rows

POSE = [0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]


def columns(action, times=(0.0, 0.1)):
    return {"columns": {"action": action, "timestamp": np.array(times)}}


@pytest.mark.rule("R-17")
@pytest.mark.parametrize(
    "result",
    [
        columns(np.ones((2, 3))),
        columns({"action": np.ones((2, 3))}),
        [{"action": [1.0, 1.0, 1.0], "timestamp": i / 10} for i in range(2)],
        [{"action": {"action": np.ones(3)}, "timestamp": i / 10} for i in range(2)],
    ],
)
def test_the_action_of_a_row_is_a_map_from_name_to_array_whatever_the_server_sent(result):
    for i, row in enumerate(rows(result)):
        assert row.keys() == {"action", "timestamp"}
        assert row["action"].keys() == {"action"}
        np.testing.assert_array_equal(row["action"]["action"], np.ones(3))
        assert row["timestamp"] == pytest.approx(i / 10)


@pytest.mark.rule("R-27")
def test_times_are_looked_at_whatever_came_before():
    good, bits = np.array([0.0, 0.1]), np.array([0.0, 0.1]).view(np.int64)
    for _ in range(2):
        assert [row["timestamp"] for row in rows(columns(np.ones((2, 3)), good))] == [0.0, 0.1]
        assert [row["timestamp"] for row in rows(columns(np.ones((2, 3)), bits))] == bits.tolist()
        for times in ([0.1, 0.0], [0.0, np.nan], [0.0, 0.0], [-1.0, 0.0], [False, True]):
            with pytest.raises(InvalidAction, match="timestamps"):
                rows(columns(np.ones((2, 3)), times))


WRONG = [
    ("target_pose", [0.4, 0.0, 0.3], r"target_pose has shape \(3,\) in each row; expected \(7,\)"),
    ("target_pose", [*POSE[:3], 0.0, 0.0, 0.0, 0.0], r"quaternion of target_pose of row \d .* length 0.000"),
    ("target_pose", [*POSE[:3], 1.1, 0.0, 0.0, 0.0], "length 1.100"),
    ("target_pose", [1e300] * 7, "length inf"),
    ("target_pose.left", POSE[:6], r"target_pose.left has shape \(6,\)"),
    ("pose_delta", [0.0] * 7, "quaternion of pose_delta"),
    ("target_grip", [7.0], r"target_grip of row \d is 7; 0 is open and 1 is closed"),
    ("target_grip", [-0.06], "0 is open and 1 is closed"),
    ("target_grip", [0.5, 0.5], r"target_grip has shape \(2,\)"),
    ("target_grip", 0.5, r"target_grip has shape \(\)"),
    ("target_joints", [], r"target_joints has shape \(0,\) in each row; expected \(n,\): one number per joint, in rad"),
    ("joint_delta", [[0.0] * 7], r"joint_delta has shape \(1, 7\)"),
    ("joint_velocity", 0.5, "joint_velocity has shape"),
]


@pytest.mark.rule("R-21")
@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_a_name_of_the_protocol_holds_what_the_protocol_says_in_either_layout(name, value, says):
    good = {"target_pose": POSE, "target_grip": [1.04], "target_joints": [0.1] * 7}
    wrong = {**good, name: value}
    with pytest.raises(InvalidAction, match=says):
        rows([{"action": good}, {"action": wrong}])
    with pytest.raises(InvalidAction, match=says):
        rows(columns({key: np.array([each, each]) for key, each in wrong.items()}))


@pytest.mark.parametrize(
    "value", [None, "home", [None] * 7, ["0.4"] * 7, {"x": 1.0}, b"1234567", [[1.0], [1.0, 2.0]], ["", b"\x80"]]
)
def test_what_holds_no_numbers_is_no_action(value):
    with pytest.raises(InvalidAction, match=r"arm of row 0 is a .* that holds no numbers"):
        rows([{"action": {"arm": value}}])


def test_what_the_protocol_within_its_tolerance_and_other_names_hold_passes():
    action = {"target_grip": [-0.05], "target_pose": np.array([*POSE[:3], 1.009, 0, 0, 0], np.float16), "door": 7.0}
    (row,) = rows([{"action": action, "note": "…"}])
    assert row["action"]["door"] == 7.0
    assert row["note"] == "…"


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ([{"robot_command": {"type": "joint_pos"}, "timestamp": 0.0}], "row 0 .* has no 'action'; it holds .*dialect"),
        ({}, "no 'action'"),
        ([{"action": {}}, 5], "row 1 of the server's result is a int"),
        ([{"action": {b"target_pose": POSE}}], "not all strings"),
        (columns({b"target_pose": np.ones((2, 7))}), "not all strings"),
        ([{"action": {}, "timestamp": "soon"}], "timestamp of row 0 is a str"),
        ([{"action": {}, "timestamp": True}], "timestamp of row 0 is a bool"),
        (columns(np.ones((2, 3)), [[0.0], [0.1]]), "'timestamp' as arrays"),
    ],
)
def test_another_form_is_refused_by_what_is_wrong_with_it(result, says):
    with pytest.raises(BadMessage, match=says):
        rows(result)
