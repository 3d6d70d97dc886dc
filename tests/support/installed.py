"""What a test needs that the lighter of the README's two commands does not install."""

import importlib.util

import pytest

with_lerobot = pytest.mark.skipif(
    importlib.util.find_spec("lerobot") is None,
    reason="LeRobot is not installed here: uv run --all-packages pytest",
)
