"""A plugin is cheap to discover and works as a whole."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import subprocess
import sys

from ..plugins import CODEC, LOADER, Plugins
from ._vendor import Vendor

_DISCOVER = """
import sys
from importlib.metadata import EntryPoint
from offboard_core.plugins import GROUP, Plugins
before = set(sys.modules)
plugins = Plugins.discover([EntryPoint(sys.argv[1], sys.argv[2], GROUP)])
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(names - sys.stdlib_module_names))
"""


class PluginLaws(Vendor):
    """What ``offboard plugins`` and ``offboard --help`` rely on."""

    #: Top-level modules that discovery may import beside core's own and the plugin's.
    light = frozenset({"numpy", "PIL"})

    def test_nothing_is_wrong_with_the_plugin(self, plugins: Plugins) -> None:
        """It imports, its hooks are declared rightly, and it offers the vendor that is tested."""
        (row,) = [row for row in plugins.rows() if row.provider.name == self.plugin]
        assert row.cause is None
        assert (self.vendor or self.plugin) in row.offers[LOADER]

    def test_discovery_imports_nothing_heavy(self, entry_point: importlib.metadata.EntryPoint) -> None:
        """Model libraries are imported when a model is loaded, not for ``--help``."""
        done = subprocess.run(
            [sys.executable, "-c", _DISCOVER, entry_point.name, entry_point.value],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=120,
        )
        imported = set(ast.literal_eval(done.stdout.splitlines()[-1]))
        own = {entry_point.module.partition(".")[0], "offboard_core", "offboard_client"}
        assert imported - own <= self.light

    def test_every_name_has_a_summary_of_one_line(self, plugins: Plugins) -> None:
        """Listings show it."""
        for offer in (*plugins.offers(LOADER), *plugins.offers(CODEC)):
            assert offer.entry.summary.strip(), offer.name
            assert "\n" not in offer.entry.summary, offer.name
