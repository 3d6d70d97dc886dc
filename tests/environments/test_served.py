"""A server of one Python serves in an environment of another, which uv makes of what a real index has."""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import offboard_core.scripted
import pytest
from lerobot_checkpoints import model_inputs, save_policy
from offboard_core import EnvironmentEntry, hookimpl
from offboard_core.catalog import from_flags
from offboard_core.environments import choose, made, place_of, remove
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE, NO_CONTEXT

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import pythons  # noqa: E402

pytestmark = pytest.mark.slow
#: What a worker needs, and nothing else.
LIST = ROOT / "tests" / "support" / "worker_list.txt"


@pytest.fixture(autouse=True)
def another_python(monkeypatch, tmp_path):
    """One that is not the server's, and an empty cache; uv has its own, and its user's settings. Never skipped."""
    python = pythons.find("3.12")
    assert python, "no Python 3.12 here: what only such a one proves would not be proved"
    monkeypatch.setenv("PATH", f"{Path(python).resolve().parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))


def answer(source, inputs):
    policy = source.loader.load(source.default(), print, ALONE)
    try:
        session = policy.new_session(policy.params())
        return session.infer(inputs, NO_CONTEXT).action
    finally:
        policy.close()


def columns(action):
    return action if isinstance(action, dict) else {"action": action}


def test_the_built_in_vendor(tmp_path, monkeypatch):
    (tmp_path / "little").mkdir()
    (tmp_path / "little" / "__init__.py").touch()
    shutil.copy(LIST, tmp_path / "little" / "list.txt")
    monkeypatch.syspath_prepend(str(tmp_path))

    @hookimpl
    def offboard_environments():
        yield EnvironmentEntry(
            name="little", summary="", requirements="little:list.txt", vendor="scripted", python="==3.12.*",
            platforms=("linux-x86_64", "linux-aarch64"),
        )  # fmt: skip

    little = SimpleNamespace(offboard_environments=offboard_environments)
    plugins = Plugins.of(scripted=offboard_core.scripted, little=little)
    pose = np.array([0.4, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0])
    cubes = {f"sim.objects.{colour}_cube": pose for colour in ("red", "green", "blue")}
    seen = {"robot_state.ee_pose": pose, "grip": 0.0, "task": "stack the red cube on the green cube", **cubes}
    here, there = (from_flags(plugins, vendor="scripted", env=env) for env in (None, "little"))
    inputs = here.codec.resolve(here.default(), {}).encode(seen)
    expected, got = (columns(answer(source, inputs)) for source in (here, there))
    assert made(place_of(choose(plugins, "little"))).python.startswith("3.12.")
    assert expected.keys() == got.keys()
    for name, column in expected.items():
        np.testing.assert_array_equal(got[name], column)


def test_lerobot_0_6(tmp_path):
    """5 GB, which is a minute or three. What another LeRobot, PyTorch and Python answer, to the bit."""
    save_policy(tmp_path / "act", "act")
    plugins = Plugins.discover()
    options = {"vendor": "lerobot", "checkpoints_dir": str(tmp_path / "act"), "loader_options": {"device": "cpu"}}
    expected = answer(from_flags(plugins, **options), model_inputs(0))
    try:
        got = answer(from_flags(plugins, env="lerobot-0.6", **options), model_inputs(0))
    finally:
        place = place_of(choose(plugins, "lerobot-0.6"))
        there = made(place)
        remove(place)
    assert there.python.startswith("3.12.")
    np.testing.assert_array_equal(got, expected)
