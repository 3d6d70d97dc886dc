"""A worker of another Python than the server's answers what the server's own answers, to the bit.

The other Python is one that this machine has, and what a worker needs there comes from a package index. Where one of
them is missing, the fast lane says so; the slow lane fails.
"""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import offboard_core.scripted
import pytest
from offboard_client.errors import LoadFailed
from offboard_core import EnvironmentEntry, hookimpl
from offboard_core.catalog import from_flags
from offboard_core.environments import choose, made, make, place_of
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE, NO_CONTEXT

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import pythons  # noqa: E402

#: What a worker needs, and nothing else.
LIST = ROOT / "tests" / "support" / "worker_list.txt"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [version for version in pythons.ALL if version != HERE]
POSE = np.array([0.4, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0])
SEEN = {
    "robot_state.ee_pose": POSE, "grip": 0.0, "task": "stack the red cube on the green cube",
    **{f"sim.objects.{colour}_cube": POSE for colour in ("red", "green", "blue")},
}  # fmt: skip


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """The built-in vendor, and a plugin whose environments are of any Python there is."""
    (tmp_path / "little").mkdir()
    (tmp_path / "little" / "__init__.py").touch()
    shutil.copy(LIST, tmp_path / "little" / "list.txt")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")

    @hookimpl
    def offboard_environments():
        for version in OTHERS:
            yield EnvironmentEntry(
                name=f"little-{version}", summary="", requirements="little:list.txt", vendor="scripted",
                python=f"=={version}.*", platforms=("linux-x86_64", "linux-aarch64"),
            )  # fmt: skip

    little = SimpleNamespace(offboard_environments=offboard_environments)
    yield Plugins.of(scripted=offboard_core.scripted, little=little)
    sys.modules.pop("little", None)


def found(version, monkeypatch):
    """Whether this Python is here; uv finds it then."""
    python = pythons.find(version)
    if python is not None:
        monkeypatch.setenv("PATH", f"{Path(python).resolve().parent}{os.pathsep}{os.environ['PATH']}")
    return python is not None


def answer(source):
    policy = source.loader.load(source.default(), print, ALONE)
    try:
        seen = source.codec.resolve(source.default(), {}).encode(SEEN)
        return policy.new_session(policy.params()).infer(seen, NO_CONTEXT).columns()
    finally:
        policy.close()


def assert_same_answers(plugins, version):
    here, there = (from_flags(plugins, vendor="scripted", env=env) for env in (None, f"little-{version}"))
    expected, got = answer(here), answer(there)
    assert made(place_of(choose(plugins, f"little-{version}"))).python.startswith(f"{version}.")
    assert expected.keys() == got.keys()
    for name, column in expected.items():
        np.testing.assert_array_equal(got[name], column)


def test_one_that_is_here(plugins, monkeypatch):
    version = next((version for version in OTHERS if found(version, monkeypatch)), None)
    if version is None:
        pytest.skip(f"no other Python here; looked for {', '.join(OTHERS)}")
    try:
        make(choose(plugins, f"little-{version}"), print)
    except LoadFailed as error:
        if "the package index cannot be reached" in error.text:
            pytest.skip(f"nothing can be installed for Python {version}: {error.text}")
        raise
    assert_same_answers(plugins, version)


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_each(version, plugins, monkeypatch):
    assert found(version, monkeypatch), f"no Python {version} here: what only that one proves would not be proved"
    assert_same_answers(plugins, version)
