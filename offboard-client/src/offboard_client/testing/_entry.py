"""A robot or a policy is found by its entry point, and its libraries are imported for whoever runs it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

from ..plugins import Chosen, Entry, describe
from ..robots import GROUP
from ._tried import Tried

_IMPORTED = """
import sys
import offboard_client.play
before = set(sys.modules)
__import__(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""


class EntryLaws(Tried):
    """What ``offboard run --help`` and ``offboard robots`` rely on. ``group``: of the entry points."""

    group = GROUP
    #: Top-level modules that the entry's module may import beside the client's and its own.
    light = frozenset[str]()

    @pytest.fixture
    def entry_point(self) -> importlib.metadata.EntryPoint:
        """The installed entry point."""
        (found,) = importlib.metadata.entry_points(group=self.group, name=self.name.partition(":")[0])
        return found

    def test_it_is_listed_without_its_libraries(self, entry_point: importlib.metadata.EntryPoint) -> None:
        """The module of the entry is imported for help; what does the work is not."""
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTED, entry_point.module],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=120,
        )
        own = {entry_point.module.partition(".")[0], "offboard_client"}
        assert set(done.stdout.split()) - own <= self.light

    def test_it_can_be_had_by_its_name_alone(self, chosen: Chosen[Entry]) -> None:
        """A summary of one line, and a default for every option."""
        assert chosen.entry.summary.strip()
        assert "\n" not in chosen.entry.summary
        for option in describe(chosen.options()):
            assert option.default is not ..., f"the option {option.name} has no default"
