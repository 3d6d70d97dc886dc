"""Every hook has a section in docs/reference/hooks.md with a complete example, and the example works."""

import dataclasses
import re
import sys
import types
from pathlib import Path

import pytest
from offboard_core.plugins import KINDS, Plugins

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "hooks.md").read_text("utf-8")
HOOKS = list(KINDS)


def section(hook):
    found = re.search(rf"^## `{hook}`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"{hook} has no section"
    return found[1]


def example(hook):
    """The plugin of a section, as a module of the name that its first line says, and the code that uses it."""
    plugin, use = re.findall(r"^```python\n(.*?)^```$", section(hook), re.MULTILINE | re.DOTALL)
    name = re.match(r"# offboard_(\w+)\.py\n", plugin)[1]
    module = types.ModuleType(f"offboard_{name}")
    exec(plugin, module.__dict__)
    return name, module, use


def test_there_are_hooks():
    kinds = [
        "codecs", "checkpoint_loaders", "model_registries", "frontends", "listeners", "observers", "trainers",
        "data_sets", "environments",
    ]  # fmt: skip
    assert [f"offboard_{kind}" for kind in kinds] == HOOKS
    assert re.findall(r"^## `(offboard_\w+)`$", PAGE, re.MULTILINE) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_with_every_field_of_its_entry(hook):
    assert re.search(r"Yields `(\w+)`", section(hook))[1] == KINDS[hook].entry.__name__
    named = {
        name for row in re.findall(r"^\| (.*?) \|", section(hook), re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == {field.name for field in dataclasses.fields(KINDS[hook].entry)}


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_a_hook_is_a_plugin_that_implements_it(hook, monkeypatch, tmp_path):
    name, module, use = example(hook)
    assert hasattr(getattr(module, hook), "offboard_impl")
    _, row = Plugins.of(**{name: module}).rows()
    assert row.cause is None
    assert row.offers[KINDS[hook]]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(use, {})
