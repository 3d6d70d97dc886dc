"""What the tutorial tells its reader to write is the example plugin, to the letter."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial" / "first-plugin.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "offboard-echo"


@pytest.mark.parametrize("name", ["src/offboard_echo/__init__.py", "tests/test_echo.py"])
def test_a_module_of_the_tutorial_is_the_examples(name: str) -> None:
    (code,) = re.findall(rf"^```python\n# {re.escape(name)}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert code == (EXAMPLE / name).read_text("utf-8")


def test_the_project_file_of_the_tutorial_is_the_examples() -> None:
    (code,) = re.findall(r"^```toml\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert code == (EXAMPLE / "pyproject.toml").read_text("utf-8")
