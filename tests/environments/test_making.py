"""An environment is made whole, once, of the files that its list names, and used again without uv and network."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from offboard_client.errors import LoadFailed
from offboard_core.cache import use
from offboard_core.environments import leftovers, made, make, place_of
from pids import alive
from waits import PATIENCE, reached, until
from wheel_index import HERE, PEBBLE, index, pinned, wheel


def runs(python, code):
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_it_is_made_once_and_used_again_without_uv_and_network(described, packages, cache, monkeypatch, caplog):
    said = []
    caplog.set_level("INFO")
    python = make(described.offer, said.append)
    assert "pebble==" not in caplog.text, "a line for each package, which looks like a failure where one is tried anew"
    assert runs(python, "import pebble; print(pebble.VERSION)") == "1.0"
    assert python.parent.parent == place_of(described.offer)
    assert said[0].startswith(f"making the environment rocks-1.0: looking for a Python {HERE}")
    assert any(text.startswith("making the environment rocks-1.0: ") and text.endswith("MB written") for text in said)
    assert said[-1].startswith("made the environment rocks-1.0: 1 package in ")
    there = made(place_of(described.offer))
    assert (there.packages, HERE.startswith(f"=={there.python[:4]}")) == (1, True)
    assert there.size > len(PEBBLE)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("offboard_core.environments.uv.sys.executable", "/nowhere/python")
    asked = len(packages.asked)
    assert make(described.offer, said.append) == python
    assert len(packages.asked) == asked
    assert leftovers([described.offer]) == {}


def test_another_list_is_another_environment_and_the_old_one_is_left_over(described, packages, cache):
    before = make(described.offer, lambda _: None)
    described.write("# the same, said otherwise\n" + pinned("pebble", PEBBLE).replace(" --", " \\\n    --"))
    assert make(described.offer, lambda _: None) == before
    described.write(pinned("pebble", PEBBLE) + f" --hash=sha256:{'0' * 64}")
    after = make(described.offer, lambda _: None)
    assert after != before
    [(name, size)] = leftovers([described.offer]).items()
    assert (cache / name / "bin" / "python", size > len(PEBBLE)) == (before, True)


def test_every_line_and_the_python_tell_two_environments_apart(described):
    """Their folders are called by it."""
    first, other = pinned("pebble", PEBBLE), f"rock==1.0 --hash=sha256:{'2' * 64}"
    found = set()
    lists = (first, HERE), (f"{first}\n{other}", HERE), (f"{first}\n{other[:-1]}3", HERE), (first, "==3.2.*")
    for text, python in lists:
        described.write(text)
        found.add(place_of(replace(described.offer, entry=replace(described.offer.entry, python=python))).name)
    assert len(found) == 4


def test_a_users_settings_change_neither_what_is_installed_nor_where(described, packages, monkeypatch, tmp_path):
    settings = {
        "UV_CONSTRAINT": "/nowhere/constraints.txt", "UV_NO_BINARY": "1", "UV_PYTHON": "3.2",
        "UV_EXCLUDE_NEWER": "2001-01-01", "UV_PROJECT": "/nowhere", "UV_NO_VERIFY_HASHES": "1",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert runs(make(described.offer, lambda _: None), "import pebble; print(pebble.VERSION)") == "1.0"
    described.write(f"pebble==1.0 --hash=sha256:{'0' * 64}")
    with pytest.raises(LoadFailed, match="Hash mismatch"):
        make(described.offer, lambda _: None)


def test_uv_keeps_others_away_for_as_long_as_it_writes(described, cache, monkeypatch, tmp_path):
    """Also where the server is killed, and uv a moment later."""
    (tmp_path / "bin").mkdir()
    program, pid = tmp_path / "bin" / "uv", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {pid}.new\nmv {pid}.new {pid}\nsleep 600 & wait\nwait\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def free():
        [path] = cache.glob("*.lock")
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    with described.start("make", "rocks-1.0") as process:
        until(pid.exists, "uv runs")
        process.kill()
        process.wait(PATIENCE)
        was_free = free()
        assert not (was_free and alive(int(pid.read_text())))
        until(free, "it ends with who started it")
        assert not alive(int(pid.read_text()))
        process.communicate(timeout=PATIENCE)


def test_one_whose_python_is_gone_is_made_anew(described, packages):
    python = make(described.offer, lambda _: None)
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert made(place_of(described.offer)) is None
    assert make(described.offer, lambda _: None) == python
    assert runs(python, "import pebble; print(pebble.VERSION)") == "1.0"


@pytest.mark.parametrize("lost", ["pebble.py", "pebble-1.0.dist-info"])
def test_one_that_has_lost_a_package_is_made_anew(described, packages, lost):
    """What lacks one was told to install it where the server is, which does not help."""
    python = make(described.offer, lambda _: None)
    [path] = place_of(described.offer).glob(f"lib/*/site-packages/{lost}")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert made(place_of(described.offer)) is None
    assert make(described.offer, lambda _: None) == python
    assert runs(python, "import pebble; print(pebble.VERSION)") == "1.0"
    assert path.exists()


def wrong_hash(described, packages, monkeypatch):
    described.write(f"pebble==1.0 --hash=sha256:{'0' * 64}")


def no_index(described, packages, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")


def refused(described, packages, monkeypatch):
    packages.status = 401
    monkeypatch.setenv("UV_DEFAULT_INDEX", packages.url.replace("://", "://me:hunter2@"))


def not_there(described, packages, monkeypatch):
    described.write(f"boulder==1.0 --hash=sha256:{'0' * 64}")


def no_wheel(described, packages, monkeypatch):
    packages.files = {"pebble-1.0.tar.gz": PEBBLE}


def no_uv(described, packages, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("offboard_core.environments.uv.sys.executable", "/nowhere/python")


def no_place(described, packages, monkeypatch):
    monkeypatch.setenv("OFFBOARD_CACHE", __file__)


def no_list(described, packages, monkeypatch):
    (described.folder / "rocks_lists" / "one.txt").unlink()


FAILURES = [
    (wrong_hash, r"Hash mismatch[\s\S]*Likely cause: the package index gives another file than the list names"),
    (no_index, r"Likely cause: the package index cannot be reached.*offboard envs make"),
    (refused, r"Likely cause: the package index refused it"),
    (not_there, r"boulder[\s\S]*Likely cause: the package index has not what the list names"),
    (no_wheel, r"pebble[\s\S]*Likely cause: the package index has not what the list names"),
    (no_uv, r"the environment rocks-1\.0 is not made yet, and making it needs uv: pip install uv$"),
    (no_place, r"the cache cannot be written to \(.*test_making\.py.*: Not a directory\): .* by OFFBOARD_CACHE"),
    (no_list, r"the list of the environment rocks-1\.0, rocks_lists:one\.txt of the plugin rocks .* cannot be read"),
]


@pytest.mark.parametrize(("spoil", "text"), FAILURES, ids=[spoil.__name__ for spoil, _ in FAILURES])
def test_what_cannot_be_made_is_one_error_and_leaves_nothing(spoil, text, described, packages, cache, monkeypatch):
    spoil(described, packages, monkeypatch)
    with pytest.raises(LoadFailed, match=text) as caught:
        make(described.offer, lambda _: None)
    assert caught.value.permanent
    assert "hunter2" not in caught.value.text
    assert not cache.is_dir() or [path.suffix for path in cache.iterdir()] in ([], [".lock"])


def test_a_python_that_is_not_here_is_told_with_those_that_are(described, packages, cache):
    offer = replace(described.offer, entry=replace(described.offer.entry, python="==3.2.*"))
    with pytest.raises(
        LoadFailed, match=r"wants a Python ==3\.2\.\*; found were .*3\.\d+\.\d+.*`uv python install 3\.2`"
    ):
        make(offer, lambda _: None)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


SHIM = """#!/bin/sh
case ":$PYENV_VERSION:" in *:{version}:*) exec {program} "$@";; esac
echo "pyenv: ${{0##*/}}: command not found

The '${{0##*/}}' command exists in these Python versions:
  {version}

Note: See 'pyenv help global' for tips on allowing multiple" >&2
exit 127
"""


@pytest.mark.parametrize("kind", ["of pyenv", "that does not run"])
def test_a_python_on_the_path_which_uv_falls_over(kind, described, packages, monkeypatch, tmp_path):
    version = ".".join(map(str, sys.version_info[:3]))
    text = SHIM.format(program=sys.executable, version=version) if kind == "of pyenv" else "#!/bin/sh\nexit 1\n"
    for name in ("python", "python3", f"python{version.rpartition('.')[0]}"):
        (tmp_path / "shims").mkdir(exist_ok=True)
        (tmp_path / "shims" / name).write_text(text)
        (tmp_path / "shims" / name).chmod(0o755)
    others = [] if kind == "of pyenv" else [str(Path(sys.executable).resolve().parent)]
    monkeypatch.delenv("PYENV_VERSION", raising=False)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "uv").symlink_to(shutil.which("uv"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "tools"), *others, "/bin"]))
    python = make(described.offer, lambda _: None)
    assert runs(python, "import pebble; print(pebble.VERSION)") == "1.0"


@pytest.mark.parametrize("now", [None, "3.99.9"], ids=["none is chosen", "another one is"])
def test_uv_itself_may_be_pyenvs_of_another_python(now, described, packages, monkeypatch, tmp_path):
    version = ".".join(map(str, sys.version_info[:3]))
    programs = dict.fromkeys(("python", "python3", f"python{version.rpartition('.')[0]}"), (sys.executable, version))
    # `uv run` says where it is. A shim of pyenv itself, which may be on the PATH, would look for uv there for ever.
    uv = os.environ.get("UV", shutil.which("uv"))
    for name, (program, of) in {**programs, "uv": (uv, "3.98.9")}.items():
        (tmp_path / "shims").mkdir(exist_ok=True)
        (tmp_path / "shims" / name).write_text(SHIM.format(program=program, version=of))
        (tmp_path / "shims" / name).chmod(0o755)
    monkeypatch.delenv("PYENV_VERSION", raising=False)
    if now is not None:
        monkeypatch.setenv("PYENV_VERSION", now)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "shims"), "/bin"]))
    assert runs(make(described.offer, lambda _: None), "import pebble; print(pebble.VERSION)") == "1.0"


def test_no_python_but_one_that_uv_falls_over(described, packages, monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text("#!/bin/sh\nexit 1\n")
    (folder / "python").chmod(0o755)
    (folder / "uv").symlink_to(shutil.which("uv"))
    monkeypatch.setenv("PATH", str(folder))
    offer = replace(described.offer, entry=replace(described.offer.entry, python="==3.2.*"))
    with pytest.raises(LoadFailed, match=r"wants a Python ==3\.2\.\*; found were"):
        make(offer, lambda _: None)


def test_a_full_disk(described, packages, cache, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # what is compiled would be cut off, too, and stay so
    with described.start("make", "rocks-1.0", before=("prlimit", "--fsize=200000")) as process:
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "there is no room for it" in said
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_two_at_once_make_it_once_and_the_second_is_told(described, packages):
    packages.free.clear()
    said, found = [], []
    first = threading.Thread(target=lambda: found.append(make(described.offer, lambda _: None)))
    first.start()
    reached(packages.held)
    second = threading.Thread(target=lambda: found.append(make(described.offer, said.append)))
    second.start()
    until(lambda: said, "the second waits")
    packages.free.set()
    for thread in (first, second):
        thread.join(PATIENCE)
    assert len(found) == 2
    assert found[0] == found[1]
    assert said[0].startswith("another process is making the environment rocks-1.0: ")
    assert all(text.startswith("another process") for text in said), "it makes nothing itself"
    assert len([path for path in packages.asked if path.endswith(".whl")]) == 1


def test_one_that_a_worker_runs_in_is_not_removed(described, packages, cache):
    """Its modules went away under a running model."""
    place = make(described.offer, lambda _: None).parent.parent
    with use(place), described.start("remove", "rocks-1.0") as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"{place} has a worker of a server in it: wait until that has ended, or end it (`fuser " in err.replace(
        "\n", " "
    )
    assert make(described.offer, lambda _: None).exists()
    with described.start("remove", "rocks-1.0") as process:
        assert process.wait(PATIENCE) == 0
    assert not place.exists()


def test_who_is_called_off_leaves_nothing(described, packages, cache):
    packages.free.clear()

    def report(text):
        if packages.held.is_set():
            raise LoadFailed("nobody waits for it any more")

    with pytest.raises(LoadFailed, match="nobody waits for it any more"):
        make(described.offer, report)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_in_the_middle(number, described, packages, cache):
    packages.free.clear()
    with described.start("make", "rocks-1.0") as process:
        reached(packages.held)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert process.returncode
    left = {path.suffix for path in cache.iterdir()}
    assert left == ({".lock", ".part"} if number == signal.SIGKILL else {".lock"})
    packages.free.set()
    make(described.offer, lambda _: None)
    assert {path.suffix for path in cache.iterdir()} - {".lock"} == {place_of(described.offer).suffix}


class TestCommand:
    def test_make_list_and_remove(self, described, packages, cache):
        def envs(*arguments):
            with described.start(*arguments) as process:
                out, said = process.communicate(timeout=PATIENCE)
            return process.returncode, out, said

        status, out, said = envs("make", "rocks-1.0", "--json")
        assert status == 0, said
        assert runs(json.loads(out)["python"], "import pebble") == ""
        described.write(pinned("pebble", PEBBLE) + f" --hash=sha256:{'1' * 64}")
        _, out, _ = envs("--json")
        listed = json.loads(out)
        [one] = [each for each in listed["environments"] if each["name"] == "rocks-1.0"]
        assert (one["vendor"], one["python"], one["made"], one["path"]) == ("rocks", HERE, None, None)
        [old] = listed["leftovers"]
        _, out, _ = envs()
        assert old in out
        assert "not made yet" in out
        assert envs("remove", old)[1] == f"removed {old}\n"
        assert [path for path in cache.iterdir() if path.is_dir()] == []
        status, _, said = envs("remove", "rocks-1.0")
        assert (status, "the environment rocks-1.0 is not made" in said) == (1, True)
        status, _, said = envs("make", "rock-1.0")
        assert (status, "there is no environment 'rock-1.0'; did you mean rocks-1.0?" in said) == (1, True)
        assert envs("make")[0] == 2

    def test_what_another_process_makes_is_neither_left_over_nor_removed(self, described, packages, cache):
        packages.free.clear()
        with described.start("make", "rocks-1.0") as maker:
            reached(packages.held)
            [part] = cache.glob("*.part")
            assert leftovers([described.offer]) == {}
            with described.start("remove", part.name) as process:
                _, said = process.communicate(timeout=PATIENCE)
            assert (process.returncode, f"{part} is being made by another process: wait" in said) == (1, True), said
            packages.free.set()
            out, said = maker.communicate(timeout=PATIENCE)
        assert maker.returncode == 0, said
        assert runs(out.strip(), "import pebble; print(pebble.VERSION)") == "1.0"

    def test_what_somebody_was_killed_at_is_removed_and_its_lock_stays(self, described, cache):
        """Who waits for a lock that is removed gets another one than who comes later."""
        part = cache / f"{place_of(described.offer).name}.part"
        part.mkdir(parents=True)
        lock = part.with_suffix(".lock")
        lock.touch()
        before = lock.stat().st_ino
        assert leftovers([described.offer]) == {part.name: 0}
        with described.start("remove", part.name) as process:
            out, _ = process.communicate(timeout=PATIENCE)
        assert (out, part.exists(), lock.stat().st_ino) == (f"removed {part.name}\n", False, before)


def test_no_secret_is_told(described, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    with index(status=403, pebble=wheel("pebble")) as packages:
        monkeypatch.setenv("UV_DEFAULT_INDEX", packages.url.replace("://", "://me:hunter2@"))
        monkeypatch.setenv("UV_INDEX", packages.url.replace("/simple", "/other/simple?token=swordfish"))
        with pytest.raises(LoadFailed) as caught:
            make(described.offer, lambda _: None)
    for text in (caught.value.text, caplog.text):
        assert "hunter2" not in text
        assert "swordfish" not in text
    assert os.environ["UV_DEFAULT_INDEX"].count("hunter2") == 1
