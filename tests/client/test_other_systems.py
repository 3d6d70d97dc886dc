"""The client is there where POSIX is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parents[1] / "support"
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import offboard_client
from offboard_client.errors import ConfigurationError
found = []
for module in pkgutil.walk_packages(offboard_client.__path__, "offboard_client.", onerror=lambda name: None):
    if module.name.endswith(".__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except (ImportError, ConfigurationError):  # it needs an extra that is not installed, or what is hidden
        continue
    found.append(module.name)
print(json.dumps([[name for name in ("termios", "fcntl") if sys.modules.get(name, sys) is None], found]))
"""


def imported(first: str) -> tuple[list[str], list[str]]:
    """Which of two modules of POSIX are hidden, and which of the client's modules can be imported then."""
    done = subprocess.run(
        [sys.executable, "-c", first + IMPORT_ALL],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)}, capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    hidden, found = json.loads(done.stdout)
    return hidden, found


def test_every_module_can_be_imported_without_what_only_posix_brings():
    nothing, found = imported("")
    assert "offboard_client.errors" in found
    assert nothing == []
    assert imported("import without_posix\n") == (["termios", "fcntl"], found)


def pytest_without_posix(*options: str, seconds: float) -> None:
    """The tests of the client and its robots, as they are there."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "without_posix", *options]
    done = subprocess.run(
        [*command, "tests/client", "tests/robots"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]


def test_every_test_of_the_client_can_be_collected_without_what_only_posix_brings():
    pytest.importorskip("mujoco")  # without which the robots' tests are collected nowhere
    pytest_without_posix("-n", "0", "--collect-only", seconds=600)


@pytest.mark.slow
def test_the_tests_of_the_client_pass_without_what_only_posix_brings():
    pytest_without_posix("-n", "4", seconds=800)
