"""What a vendor's code has started, written or made in the server's own process does not outlive that, nor leave it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from offboard_core.process import OwnFolder
from offboard_process import serving
from pids import alive, state
from plugin_dists import write_plugin
from puppets import until
from toy_vendor import TOY, write_runs
from waits import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="who started what is Linux's to say")

#: At its load: a child, a daemon that hears one signal alone and has left its parent, and words for whoever reads fd 1.
STARTS = """
        import os, signal, subprocess, sys
        notes = Path(os.environ["NOTES"])
        sleep = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(6000)"
        plain = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6000)"])
        code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]], " \\
               "start_new_session=True, stdout=subprocess.DEVNULL).pid, flush=True)"
        deserter = int(subprocess.run([sys.executable, "-c", code, sleep], stdout=subprocess.PIPE).stdout)
        os.write(1, b'{"url": "evil"}\\n')
        from offboard_core.process import OwnFolder
        (notes / "folder").write_text(str(OwnFolder("of-a-test").path))
        (notes / "pids").write_text(f"{plain.pid} {deserter}")
"""
HANGS = "        import threading; threading.Event().wait()\n"
AT = "    def load(self, checkpoint, report, place):\n"


@contextlib.contextmanager
def served(tmp_path, more=""):
    write_plugin(tmp_path, "toy", TOY.replace(AT, AT + STARTS + more))
    write_runs(tmp_path / "runs", "000100")
    where = {"NOTES": str(tmp_path), "TMPDIR": str(tmp_path)}
    with serving("--checkpoints-dir", tmp_path / "runs", path=tmp_path, **where) as (process, _):
        until((tmp_path / "pids").exists, "it loads")
        until((tmp_path / "pids").read_text, "it has written that")
        yield process, [int(pid) for pid in (tmp_path / "pids").read_text().split()]


@pytest.mark.processes
@pytest.mark.parametrize("more", ["", HANGS], ids=["loaded", "hanging"])
def test_what_a_vendor_started_ends_with_the_server(tmp_path, more):
    with served(tmp_path, more) as (process, pids):
        assert all(map(alive, pids))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert process.returncode == 0
        assert out == "", "stdout holds one JSON object and nothing else"
        assert '{"url": "evil"}' in err
        [told] = re.findall("what a vendor's code has started ends with this process: (.*)", err)
        assert {*map(int, told.split(", "))} == {*pids}
    assert [pid for pid in pids if alive(pid)] == []
    assert not Path((tmp_path / "folder").read_text()).exists()


def test_who_was_there_before_the_server_is_left_alone(tmp_path):
    """What a shell started before it became the server."""
    write_plugin(tmp_path, "toy", TOY)
    code = (
        "import subprocess, sys; from offboard_core.process import ending_children\n"
        "run = lambda: subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(6000)'], stdout=-3).pid\n"
        "print(run())\nwith ending_children(): print(run())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    before, since = map(int, done.stdout.split())
    try:
        assert alive(before)
        assert not alive(since)
    finally:
        os.kill(before, signal.SIGKILL)


#: Becomes what a shell with a helper in the background becomes, when told to; that helper starts another, and leaves.
SHELL = """
    ( until [ -e {notes}/serves ]; do sleep 0.05; done
      setsid {sleep} & echo $! > {notes}/theirs.part; mv {notes}/theirs.part {notes}/theirs ) > {notes}/out 2>&1 &
    exec {python} {notes}/server.py
"""
#: Of its own: a child, one that only forks, and a daemon in its own session. It has adopted both daemons at its end.
SERVER = """
import os, subprocess, sys, time
from pathlib import Path
from offboard_core.process import ending_children
notes = Path(__file__).parent
with ending_children():
    (notes / "serves").touch()
    sleep = "import time; time.sleep(6000)"
    mine = [subprocess.Popen([sys.executable, "-c", sleep]).pid, os.fork()]
    if not mine[1]:
        time.sleep(6000)
    start = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=-3).pid)"
    done = subprocess.run([sys.executable, "-c", start, sys.executable, "-c", sleep], stdout=-1, check=True)
    mine.append(int(done.stdout))
    while not (notes / "theirs").exists():
        time.sleep(0.01)
    adopted = [mine[2], int((notes / "theirs").read_text())]
    while any(int(Path(f"/proc/{pid}/stat").read_text().split()[3]) != os.getpid() for pid in adopted):
        time.sleep(0.01)
    (notes / "mine").write_text(" ".join(map(str, mine)))
"""


@pytest.mark.processes
def test_what_others_start_that_were_there_before_is_left_alone(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    sleep = f"{sys.executable} -c 'import time; time.sleep(6000)'"
    script = SHELL.format(notes=tmp_path, sleep=sleep, python=sys.executable)
    subprocess.run(["sh", "-c", script], check=True, timeout=2 * PATIENCE)
    theirs = int((tmp_path / "theirs").read_text())
    try:
        assert alive(theirs)
        mine = [int(pid) for pid in (tmp_path / "mine").read_text().split()]
        assert [pid for pid in mine if alive(pid)] == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(theirs, signal.SIGKILL)


def test_who_has_lost_its_parent_is_waited_for_when_it_has_ended_and_nobody_else_is(tmp_path):
    code = (
        "import subprocess, sys; from offboard_core.process import ending_children, remains\n"
        "remains._REAPING = 0.01\n"
        "with ending_children():\n"
        "    own = subprocess.Popen(['false'])\n"
        "    adopted = subprocess.run(['sh', '-c', 'sleep 0.1 >&2 & echo $!'], stdout=-1, check=True).stdout\n"
        "    print(int(adopted), flush=True)\n"
        "    sys.stdin.read()\n"
        "    print(own.wait())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        try:
            adopted = int(process.stdout.readline())
            until(lambda: state(adopted) is None, "it is waited for")
            assert process.communicate("")[0] == "1\n", "Python was still to be told how it ended"
        finally:
            process.kill()


def test_a_folder_of_somebody_who_was_killed_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os; from offboard_core.process import OwnFolder\n"
        "folder = OwnFolder('x'); (folder.path / 'a').touch(); os.kill(os.getpid(), 9)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    with OwnFolder("x") as mine, OwnFolder("x") as other:
        assert mine != left
        assert not left.exists()
        assert mine.is_dir(), "who lives keeps it"
        (other / "b").touch()
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["test", "training", "ab12cd_8"])
def test_a_folder_of_somebody_elses_stays_whatever_it_is_called(tmp_path, monkeypatch, name):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    results = tmp_path / f"offboard-load-{name}" / "results.csv"
    results.parent.mkdir()
    results.write_text("theirs")
    with OwnFolder("load"):
        assert results.read_text() == "theirs"


def test_a_marked_folder_of_another_name_stays(tmp_path, monkeypatch):
    """Somebody has moved one to look at it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with OwnFolder("load") as own:
        shutil.copytree(own, tmp_path / "offboard-load-kept")
        with OwnFolder("load"):
            assert (tmp_path / "offboard-load-kept").is_dir()
