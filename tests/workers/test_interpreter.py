"""What is no Python for a worker is told before anything listens, and once."""

import logging
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.process import OURS_ALONE
from offboard_core.types import ALONE
from offboard_core.workers import Isolation, asked_for, look_for
from waits import until
from worker_vendor import CHECKPOINT, loader


@pytest.fixture
def program(tmp_path):
    """A program with this text."""

    def write(text, mode=0o755):
        path = tmp_path / "python"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def ask(path):
    return asked_for(Isolation(), isolate=False, python=str(path), inherit=())


def test_a_wrapper_of_one_is_one(program, monkeypatch):
    path = program(f'#!/bin/sh\necho a greeting\nexec {sys.executable} "$@"\n')
    assert ask(path).python == path


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_one(text):
    with pytest.raises(ConfigurationError, match=r"^python is empty; expected an interpreter such as"):
        ask(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "#!/bin/sh\n",
            r"no Python: it exited with code 0 when it was asked for its version.*:\n\(it wrote nothing\)$",
        ),
        ("#!/bin/sh\necho not today\nexit 3\n", r"it exited with code 3 .*:\nnot today$"),
        ("#!/bin/sh\nkill -9 $$\n", r"it was killed by SIGKILL "),
        ("\x00\x01", r"it exited with code 127 [\s\S]*Exec format error"),
        ("#!/none/such\n", r"it exited with code 127 [\s\S]*No such file or directory"),
        ("#!/bin/sh\necho Python 2.7.18\n", r"python is Python 2\.7\.18; a worker needs 3\.10 or newer$"),
        ("#!/bin/sh\necho Python 3.9.1\n", r"python is Python 3\.9\.1; a worker needs 3\.10 or newer$"),
        (
            "#!/bin/sh\necho Python 3.12.1\necho lacks numpy pluggy\n",
            r"lacks numpy, pluggy, which offboard .*: .*pip in",
        ),
    ],
)
def test_what_is_none(program, text, said):
    with pytest.raises(ConfigurationError, match=said):
        ask(program(text))


def test_what_models_need_is_looked_for_there_and_nowhere_else(program):
    needs = {"torch": "torch>=2", "some_models": "models[all]", "msgpack": "msgpack"}
    lacks = program("#!/bin/sh\necho Python 3.12.1\nshift 2\necho lacks torch some_models lerobot\n")
    with pytest.raises(ConfigurationError) as raised:
        look_for(needs, ask(lacks).python, (), "mine.act")
    assert str(raised.value) == (
        f"the environment of {lacks} lacks torch, some_models, which models of the vendor mine.act import: "
        f"{lacks} -m pip install 'torch>=2' 'models[all]'"
    )
    look_for({"msgpack": "msgpack", "numpy": "numpy"}, Path(sys.executable), (), "mine")
    look_for({}, Path("/none/such"), (), "mine")


def test_true_is_no_python():
    with pytest.raises(ConfigurationError, match=r"true is no Python: it exited with code 0"):
        ask(shutil.which("true"))


@pytest.mark.parametrize(
    "old", sorted(Path(os.environ.get("PYENV_ROOT", "/none")).glob("versions/[23].[6789].*/bin/python"))
)
def test_an_old_one_of_this_machine(old):
    with pytest.raises(ConfigurationError, match=r"is Python [23]\.[6789]\.\d+; a worker needs 3\.10 or newer$"):
        ask(old)


def test_one_that_may_not_be_run(program):
    with pytest.raises(ConfigurationError, match="is no program that can be run"):
        ask(program("#!/bin/sh\n", 0o644))


def test_one_that_hangs_is_ended_with_what_it_started(program, monkeypatch, tmp_path):
    monkeypatch.setattr("offboard_core.workers.interpreter.PATIENCE", 0.2)
    path = program(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/pid\nwait\n")
    with pytest.raises(ConfigurationError, match=r"is no Python: it said nothing for 0\.2 s"):
        ask(path)
    if (tmp_path / "pid").exists():  # on a busy machine it may not have come that far
        until(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())), "nothing of it runs")


class TestLoads:
    """One that was no worker only when it was to load: it may have changed since it was asked."""

    def test_one_that_ends_without_a_word_is_no_python_for_ever(self, program):
        with pytest.raises(
            LoadFailed, match=r"is no Python that a worker can run in: .*exited with code 3[\s\S]*today"
        ) as e:
            loader(python=program("#!/bin/sh\necho not today\nexit 3\n")).load(CHECKPOINT, print, ALONE)
        assert e.value.permanent

    def test_one_that_is_killed_may_be_one(self, program):
        with pytest.raises(LoadFailed, match=r"killed by SIGKILL") as e:
            loader(python=program("#!/bin/sh\nkill -9 $$\n")).load(CHECKPOINT, print, ALONE)
        assert not e.value.permanent

    @pytest.mark.parametrize("text", ["sleep 600", "kill -STOP $$"])
    def test_one_that_says_nothing_is_none(self, program, monkeypatch, text):
        monkeypatch.setattr("offboard_core.workers.ears.PATIENCE", 0.2)
        with pytest.raises(LoadFailed, match=r"worker has said nothing for \d+ s, and a worker does so at once"):
            loader(python=program(f"#!/bin/sh\n{text}\n")).load(CHECKPOINT, print, ALONE)


def test_what_it_says_when_asked_is_in_the_log(program, caplog):
    caplog.set_level(logging.INFO)
    ask(sys.executable)
    assert f"{sys.executable}: Python {'.'.join(map(str, sys.version_info[:3]))}" in caplog.text


@pytest.mark.parametrize("name", sorted(OURS_ALONE))
def test_the_servers_own_secret_is_no_workers(name, monkeypatch):
    monkeypatch.setenv(name, "correct-horse")
    with pytest.raises(ConfigurationError, match=f"inherit names {name}, which is the server's own"):
        asked_for(Isolation(), isolate=True, python=None, inherit=[name])
