"""Helpers by their own names, tests side by side, and an environment that is the same everywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

# The tests start hundreds of Python processes. Compiling the libraries anew in each would be most of what they cost.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

#: Tests mostly wait, so that a core can have several at once.
WORKERS_PER_CORE = 3


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config):
    """``-n auto``, the default: what is named runs in this process, which starts at once; all of it in many."""
    cores = yield
    return WORKERS_PER_CORE * cores if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0
