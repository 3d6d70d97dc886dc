"""Which column is which name: what a data set says itself, what ``--map`` says, and nothing that is guessed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from offboard_client.errors import ConfigurationError
from offboard_core.readers import Column, advice, find_parts

POSE = tuple(f"robot_state.ee_pose.{label}" for label in ("x", "y", "z", "qw", "qx", "qy", "qz"))
SO101 = ("shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos", "gripper.pos")


def found(columns: dict[str, Column], **mapped: str) -> dict[str, tuple[str, tuple[int, ...] | None]]:
    parts = find_parts(columns, {name.replace("__", "."): text for name, text in mapped.items()}, "the set")
    return {name: (part.column, part.indices) for name, part in parts.items()}


def test_numbers_that_are_called_by_the_protocols_names_are_found() -> None:
    each = (*POSE, "grip", "robot_state.q.joint1", "robot_state.q.joint2")
    assert found({"observation.state": Column(10, each)}) == {
        "robot_state.ee_pose": ("observation.state", tuple(range(7))),
        "grip": ("observation.state", (7,)),
        "robot_state.q": ("observation.state", (8, 9)),
    }
    # As Positronic's codecs call them: a name for several numbers, of which one may have any number.
    whole = ("robot_state.ee_pose", "grip", "robot_state.q")
    assert found({"observation.state": Column(15, whole)})["robot_state.q"] == (
        "observation.state",
        tuple(range(8, 15)),
    )
    assert found({"grip": Column(1), "robot_state.q": Column(6)}) == {
        "grip": ("grip", None), "robot_state.q": ("robot_state.q", None)
    }  # fmt: skip
    both = ("target_joints.left.joint1", "target_joints.left.joint2", "target_grip.left", "target_grip.right")
    assert found({"action": Column(4, both)}) == {
        "target_joints.left": ("action", (0, 1)), "target_grip.left": ("action", (2,)),
        "target_grip.right": ("action", (3,)),
    }  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        Column(6, SO101), Column(8, ("actions",)), Column(8), Column(7, ("x", "y", "z", "qw", "qx", "qy", "qz")),
        Column(6, POSE[:6]), Column(2, ("grip", "grip")), Column(14, ("robot_state.q", "robot_state.dq")),
        Column(7, ("robot_state.ee_pose", "grip")),
    ],
)  # fmt: skip
def test_what_is_called_otherwise_is_nothing(column: Column) -> None:
    assert found({"observation.state": column}) == {}


def test_an_action_is_nothing_that_was_measured_and_a_name_that_is_there_twice_is_neither() -> None:
    assert found({"action": Column(2, ("grip", "robot_state.q.joint1"))}) == {}
    state = Column(1, ("grip",))
    assert found({"observation.state": state, "observation.more": state}) == {}
    assert found({"observation.state": state, "observation.more": state}, grip="observation.more") == {
        "grip": ("observation.more", None)
    }


def test_a_person_says_which_numbers_and_in_which_order() -> None:
    columns = {"action": Column(8), "observation.images.left": Column(None), "eef": Column(-1)}
    assert found(
        columns, target_pose="action[0:3,6,3:6]", target_grip="action[7]", target_joints="action[:7]",
        image__wrist="observation.images.left", robot_state__q="eef[2:5]",
    ) == {
        "target_pose": ("action", (0, 1, 2, 6, 3, 4, 5)), "target_grip": ("action", (7,)),
        "target_joints": ("action", (0, 1, 2, 3, 4, 5, 6)), "image.wrist": ("observation.images.left", None),
        "robot_state.q": ("eef", (2, 3, 4)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("target_pose", "actions[0:7]", "there is no column 'actions' of the set; did you mean action"),
        ("target_pose", "action[0:9]", r"\[0:9\] is not within its 8 numbers"),
        ("target_pose", "action[3:3]", "is not within"),
        ("target_pose", "action[0:6]", "is 6 numbers, and target_pose has 7"),
        ("target_pose", "action", "is 8 numbers, and target_pose has 7"),
        ("target_grip", "action[1:3]", "is 2 numbers, and target_grip has 1"),
        ("target_pose", "action[0:7", "cannot be understood"), ("target_pose", "action[x]", "cannot be understood"),
        ("target_pose", "action[0:1:7]", "cannot be understood"), ("target_pose", "", "cannot be understood"),
        ("target_grip", "pictures", "pictures holds pictures, and target_grip does not"),
        ("image.wrist", "action", "action holds numbers, and image.wrist does not"),
        ("image.wrist", "pictures[0]", "pictures are taken whole"),
    ],
)  # fmt: skip
def test_what_is_not_so_is_refused(name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        find_parts({"action": Column(8), "pictures": Column(None)}, {name: text}, "the set")


@pytest.mark.parametrize(
    ("absent", "columns", "says"),
    [
        (
            ["target_pose", "target_grip"], {"action": Column(8)},
            "say where it is: --map target_pose=action[0:7] --map target_grip=action[7] (if its numbers stand",
        ),
        (["target_joints"], {"action": Column(6)}, "--map target_joints=action[0:6] (if"),
        (["target_joints", "target_grip"], {"action": Column(8)}, "target_joints=action[0:7] --map target_grip=actio"),
        (
            ["robot_state.q", "grip", "robot_state.ee_pose"], {"action": Column(15), "observation.state": Column(15)},
            "robot_state.ee_pose=observation.state[0:7] --map robot_state.q=observation.state[7:14] --map grip=observa",
        ),
        (
            ["target_pose", "target_grip"], {"action": Column(6, SO101), "observation.state": Column(8)},
            "--map target_pose=COLUMN[0:7] (it is 7 numbers, and no column without such names has more than 6) --map "
            "target_grip=COLUMN[0:1] (if its numbers",
        ),
        (["robot_state.q"], {"observation.state": Column(8, ("robot_state.ee_pose", "grip"))}, "q=COLUMN[0:N] (if"),
        (["target_pose"], {"eef": Column(-1)}, "--map target_pose=COLUMN (if"),
        (
            ["image.wrist"], {"observation.images.top": Column(None), "observation.images.left": Column(None)},
            "--map image.wrist=observation.images.top|observation.images.left; there are: observation.images.top (p",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_what_to_type(absent: list[str], columns: Any, says: str) -> None:
    assert says in advice(absent, columns)


def test_what_is_said_to_be_typed_is_taken() -> None:
    columns = {"action": Column(8), "observation.state": Column(15)}
    for absent in (["target_pose", "target_grip"], ["robot_state.ee_pose", "robot_state.q", "grip"]):
        words = advice(absent, columns).split()
        typed = [word for before, word in itertools.pairwise(words) if before == "--map"]
        assert find_parts(columns, dict(word.split("=") for word in typed), "the set").keys() == set(absent)
