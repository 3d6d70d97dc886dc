"""What the pages tell their reader to write are the examples, to the letter."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial" / "first-plugin.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "offboard-echo"
OWN_ROBOT = (ROOT / "docs" / "how-to" / "own-robot.md").read_text("utf-8")
ROBOT = ROOT / "examples" / "offboard-robot"


@pytest.mark.parametrize("name", ["src/offboard_echo/__init__.py", "tests/test_echo.py"])
def test_a_module_of_the_tutorial_is_the_examples(name: str) -> None:
    (code,) = re.findall(rf"^```python\n# {re.escape(name)}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert code == (EXAMPLE / name).read_text("utf-8")


def test_the_project_file_of_the_tutorial_is_the_examples() -> None:
    (code,) = re.findall(r"^```toml\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert code == (EXAMPLE / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("name", ["offboard_robot/__init__.py", "offboard_robot/arm.py"])
def test_a_module_of_the_page_about_robots_is_the_examples(name: str) -> None:
    (code,) = re.findall(rf"^```python\n# {re.escape(name)}\n(.*?)^```$", OWN_ROBOT, re.MULTILINE | re.DOTALL)
    assert code == (ROBOT / "src" / name).read_text("utf-8")


def test_the_project_file_of_the_page_about_robots_is_the_examples() -> None:
    (code,) = re.findall(r"^```toml\n(.*?)^```$", OWN_ROBOT, re.MULTILINE | re.DOTALL)
    assert code == (ROBOT / "pyproject.toml").read_text("utf-8")
