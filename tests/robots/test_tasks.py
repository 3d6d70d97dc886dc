from __future__ import annotations

import pytest
from offboard_client.errors import BadParameter
from offboard_client.robots.sim import StackTask


@pytest.mark.parametrize(
    ("sentence", "task"),
    [
        ("stack the red cube on the green cube", StackTask("red", "green")),
        ("Put the blue block on top of the red block.", StackTask("blue", "red")),
        ("  place green cube onto blue cube ", StackTask("green", "blue")),
    ],
)
def test_an_instruction_is_understood(sentence: str, task: StackTask) -> None:
    assert StackTask.parse(sentence) == task
    assert StackTask.parse(task.instruction) == task


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "fold the towel",
        "stack the red cube on the red cube",
        "stack the pink cube on the green cube",
        "do not stack the red cube on the green cube",
        "stack the red cube on the green cube and the blue one on that",
    ],
)
def test_another_one_is_refused_with_an_example_of_what_is_understood(sentence: str) -> None:
    with pytest.raises(BadParameter, match=r"stack the red cube on the green cube.*red, green, blue"):
        StackTask.parse(sentence)
