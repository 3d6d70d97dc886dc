"""A worker in another environment has offboard from this one, and everything else from its own."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import offboard_core
import pytest
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.environments import remove_leftover
from offboard_core.types import ALONE, NO_CONTEXT
from offboard_core.workers import Isolation, asked_for
from waits import PATIENCE
from worker_vendor import CHECKPOINT, loader

#: What a worker needs of its environment.
NEEDED = ("msgpack", "numpy", "numpy.libs", "pluggy", "websockets")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    place = tmp_path_factory.mktemp("empty")
    venv.create(place, symlinks=True)
    return place


def environment(place):
    """One with what a worker needs, and nothing else."""
    venv.create(place, symlinks=True)
    [site] = place.glob("lib/python*/site-packages")
    for name in NEEDED:
        if (source := Path(np.__file__).parents[1] / name).exists():
            (site / name).symlink_to(source)
    return place


@pytest.fixture(scope="module")
def lean(tmp_path_factory):
    return environment(tmp_path_factory.mktemp("lean"))


@pytest.fixture(scope="module")
def lean_policy(lean):
    policy = loader(python=lean / "bin" / "python").load(CHECKPOINT, print, ALONE)
    yield policy
    policy.close()


@pytest.fixture
def imported(lean_policy):
    control = lean_policy.controls["import"]
    session = lean_policy.new_session(lean_policy.params())
    yield lambda name: control.run(session, control.params(name=name))["where"]
    session.close()


def test_it_answers(lean_policy):
    session = lean_policy.new_session(lean_policy.params())
    state = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(session.infer({"do": "echo", "state": state}, NO_CONTEXT).action, state)
    session.close()


def test_a_python_built_for_an_old_glibc_gets_on_with_one_that_was_not(tmp_path):
    """As uv's and conda's are: it does not know Linux's sealed memory by name."""
    old = environment(tmp_path)
    [site] = old.glob("lib/python*/site-packages")
    (site / "sitecustomize.py").write_text(
        "import fcntl, os\n"
        "for module, names in (os, ('memfd_create', 'MFD_')), (fcntl, ('F_ADD_SEALS', 'F_GET_SEALS', 'F_SEAL_')):\n"
        "    for name in [name for name in vars(module) if name.startswith(names)]:\n"
        "        delattr(module, name)\n"
    )
    policy = loader(python=old / "bin" / "python").load(CHECKPOINT, print, ALONE)
    try:
        session = policy.new_session(policy.params())
        state = np.arange(6.0)[None]
        np.testing.assert_array_equal(session.infer({"do": "echo", "state": state}, NO_CONTEXT).action, state)
    finally:
        policy.close()


def test_its_own_is_its_own(imported, lean):
    assert imported("pluggy").startswith(str(lean))
    assert imported("numpy").startswith(str(lean))


def test_offboard_is_this_one_with_its_version(imported, lean):
    assert Path(imported("offboard_core")).resolve() == Path(offboard_core.__file__).resolve()
    assert Path(imported("offboard_core")) != Path(offboard_core.__file__)  # by a link
    assert not list(lean.glob("lib/python*/site-packages/offboard*"))


@pytest.mark.parametrize("name", ["starlette", "uvicorn", "psutil", "offboard_openpi", "waits"])
def test_nothing_else_of_this_environment_is_there(imported, name):
    assert imported(name) == f"No module named {name!r}"


def test_an_environment_that_lacks_something_says_what_and_how_to_install_it(empty):
    python = empty / "bin" / "python"
    with pytest.raises(LoadFailed) as raised:
        loader(python=python).load(CHECKPOINT, print, ALONE)
    assert raised.value.permanent
    [missing] = {name for name in NEEDED if f"lacks {name}," in raised.value.text}
    assert missing in ("msgpack", "numpy", "pluggy")
    assert f"{python} -m pip install msgpack numpy pluggy websockets" in raised.value.text


def test_nobody_removes_an_environment_of_the_cache_that_it_runs_in(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path))
    place = environment(tmp_path / "environments" / "of-a-test")
    policy = loader(python=place / "bin" / "python").load(CHECKPOINT, print, ALONE)
    with pytest.raises(ConfigurationError, match="of-a-test has a worker of a server in it: wait until that has ended"):
        remove_leftover(place.name)
    assert place.is_dir()
    policy.close()
    remove_leftover(place.name)
    assert not place.exists()


def test_nothing_is_left_of_the_links(lean, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    policy = loader(python=lean / "bin" / "python").load(CHECKPOINT, print, ALONE)
    [links] = tmp_path.glob("offboard-worker-*")
    assert {p.name for p in links.iterdir()} >= {"offboard_client", "offboard_core", "worker_vendor.py"}
    own = {"__pycache__", ".offboard-own"}
    assert all(p.is_symlink() for p in links.iterdir() if p.name not in own)
    policy.close()
    assert not list(tmp_path.iterdir())


def test_what_a_server_leaves_that_is_killed_the_next_one_removes(lean, tmp_path, monkeypatch):
    """And nothing of a server that lives, or of another program."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code = (
        "import sys; sys.path[:0] = sys.argv[1].split(':')\n"
        "from offboard_core.types import *\nfrom worker_vendor import *\n"
        f"policy = loader(python=Path({str(lean / 'bin' / 'python')!r})).load(CHECKPOINT, lambda _: None, ALONE)\n"
        "print('loaded', flush=True)\ninput()\npolicy.close()\n"
    )
    support = str(Path(__file__).parents[1] / "support")

    def folders():
        return set(tmp_path.glob("offboard-worker-*"))

    def server():
        process = subprocess.Popen(
            [sys.executable, "-c", code, support], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "loaded\n"
        return process

    (tmp_path / "offboard-worker-of-none").symlink_to(lean)
    with server() as living:
        [of_living, *_] = [folder for folder in folders() if not folder.is_symlink()]
        with server() as killed:
            killed.kill()
            killed.wait(PATIENCE)
        [of_killed] = folders() - {of_living, tmp_path / "offboard-worker-of-none"}
        loader(python=lean / "bin" / "python").load(CHECKPOINT, print, ALONE).close()
        assert folders() == {of_living, tmp_path / "offboard-worker-of-none"}, of_killed
        assert list(of_living.iterdir())
        living.communicate("\n", timeout=PATIENCE)
    assert folders() == {tmp_path / "offboard-worker-of-none"}


class TestAskedFor:
    def ask(self, isolate=False, python=None, inherit=()):
        return asked_for(Isolation(infer_timeout=7.0), isolate=isolate, python=python, inherit=inherit)

    def test_no_worker(self):
        assert self.ask() is None

    def test_the_same_environment(self):
        assert self.ask(isolate=True) == Isolation(infer_timeout=7.0)

    def test_another(self, lean, monkeypatch):
        python = lean / "bin" / "python"
        monkeypatch.setenv("PATH", str(lean / "bin"))
        for text in (str(python), str(lean), os.path.relpath(python), "python"):
            assert self.ask(python=text).python.absolute().resolve() == python.resolve()
            assert self.ask(python=text).python.is_absolute()
        # Through no link: the environment would be another.
        assert self.ask(python=str(python)).python == python != Path(sys.executable).resolve()

    @pytest.mark.parametrize("text", ["none-such", "/none/such", __file__])
    def test_one_that_is_none(self, text):
        with pytest.raises(ConfigurationError, match="no program that can be run; expected an interpreter"):
            self.ask(python=text)

    def test_variables(self, monkeypatch):
        monkeypatch.setenv("MINE", "1")
        assert self.ask(isolate=True, inherit=["MINE"]).inherit == ("MINE",)
        with pytest.raises(ConfigurationError, match="MINE can be inherited by a worker only"):
            self.ask(inherit=["MINE"])
        with pytest.raises(ConfigurationError, match="names OTHER, which is not set"):
            self.ask(isolate=True, inherit=["OTHER"])
