"""A child never outlives the server, whatever happens to either, and its log explains its end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from offboard_client.errors import LoadFailed
from offboard_core.process import Child, free_port
from pids import alive, state
from puppets import until


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def said(child: Child, word: str) -> None:
    until(lambda: word in child.tail(200), f"{child.name} says {word}")


GRANDCHILD = """
    import subprocess, sys, time
    p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("grandchild", p.pid, flush=True)
    time.sleep(600)
"""


#: A daemon, which has left the group and the session and its parent, and hears no signal but one.
DESERTER = """
    import os, signal, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("grandchild", os.getpid(), flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.wait()
    time.sleep(600)
"""


def grandchild_of(child: Child) -> int:
    said(child, "grandchild")
    return int(child.tail().split()[-1])


def test_stop_reaches_the_grandchildren():
    with Child(python(GRANDCHILD), name="vendor") as child:
        pid = grandchild_of(child)
        assert alive(pid)
    assert not child.running
    until(lambda: not alive(pid), "the grandchild ends")


def test_what_ignores_sigterm_is_killed():
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    with Child(python(code), name="vendor", grace=0.2) as child:
        said(child, "deaf")
    assert not child.running


@pytest.mark.parametrize("stopped", [(), ("shim",), ("command",), ("shim", "command")])
def test_a_clean_end_on_sigterm_is_waited_for_also_of_what_somebody_stopped(tmp_path, stopped):
    done = tmp_path / "done"
    code = f"""
        import os, signal, sys, time
        def leave(*_):
            open({str(done)!r}, "w").close(); sys.exit(0)
        signal.signal(15, leave); print("ready", os.getpid(), flush=True); time.sleep(600)
    """
    with Child(python(code), name="vendor", grace=30) as child:
        said(child, "ready")
        pids = {"shim": child.pid, "command": int(child.tail().split()[-1])}
        for who in stopped:
            os.kill(pids[who], signal.SIGSTOP)
    assert done.exists()
    assert child.status() == 0


def test_stop_reaches_whoever_has_left_the_group():
    with Child(python(DESERTER), name="vendor") as child:
        pid = grandchild_of(child)
        until(lambda: state(pid) == "T", "it has stopped itself")
    assert not alive(pid)


def test_what_ends_under_the_shim_is_no_zombie():
    """Orphans are the shim's children."""
    code = DESERTER.replace("os.kill(os.getpid(), signal.SIGSTOP)", "pass")
    with Child(python(code), name="vendor") as child:
        pid = grandchild_of(child)
        until(lambda: state(pid) is None, "it has been waited for")


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_the_command_ends_with_a_shim_that_is_killed():
    with Child(python("import os, time; print(os.getpid(), flush=True); time.sleep(600)"), name="vendor") as child:
        until(lambda: child.last_line, "it runs")
        os.kill(child._process.pid, signal.SIGKILL)
        until(lambda: not alive(int(child.last_line)), "it ends, too")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("started", [GRANDCHILD, DESERTER], ids=["child", "deserter"])
def test_the_servers_death_ends_everything(how, started):
    server = textwrap.dedent(f"""
        import sys, time
        from offboard_core.process import Child
        child = Child([sys.executable, "-c", {textwrap.dedent(started)!r}], name="vendor", grace=0.2)
        while "grandchild" not in child.tail():
            time.sleep(0.01)
        print(child.tail().split()[-1], flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.send_signal(how)
        process.wait(240)
    until(lambda: not alive(pid), "the grandchild of a dead server ends")


def test_what_the_child_leaves_behind_ends_with_it():
    code = GRANDCHILD.replace("time.sleep(600)\n", "time.sleep(0)\n").replace(
        "import time; time.sleep(0)", "import time; time.sleep(600)"
    )
    child = Child(python(code), name="vendor")
    pid = grandchild_of(child)
    until(lambda: not child.running, "the child ends by itself")
    until(lambda: not alive(pid), "its orphan ends")
    assert child.status() == 0
    child.stop()


def test_its_death_is_told_with_the_end_of_its_log():
    child = Child(python("print('loading weights'); raise SystemExit(3)"), name="openpi")
    with pytest.raises(LoadFailed, match=r"openpi exited with code 3[\s\S]*loading weights"):
        child.wait_ready(lambda: False, 60, lambda _: None)
    child.stop()


def test_a_signal_is_named():
    child = Child(python("import os; os.kill(os.getpid(), 11)"), name="openpi")
    until(lambda: not child.running, "it dies")
    assert "SIGSEGV" in child.death()
    child.stop()


def test_all_who_ask_how_it_ended_at_once_are_told(monkeypatch):
    class Slow:
        """Its end of the line: whoever reads there is told, and is slow to pass it on."""

        def __init__(self, line):
            self.line, self.second = line, threading.Event()

        def recv(self, size):
            if not (told := self.line.recv(size)):
                self.second.set()
                return told
            self.second.wait(0.2)
            return told

        def __getattr__(self, name):
            return getattr(self.line, name)

    with Child(python("import os; os._exit(3)"), name="pupil") as child:
        until(lambda: not child.running, "it has ended")
        monkeypatch.setattr(child, "_control", Slow(child._control))
        with ThreadPoolExecutor(4) as threads:
            told = {threads.submit(child.how) for _ in range(4)}
        assert {one.result() for one in told} == {"exited with code 3"}


def test_readiness_is_asked_and_the_last_line_reported():
    heard: list[str] = []
    with Child(python("print('a\\rb\\x1b[31m c', flush=True); import time; time.sleep(600)"), name="vendor") as child:
        child.wait_ready(lambda: "b c" in heard, 60, heard.append)
    assert heard[0] in ("vendor is starting", "a", "b c")


@pytest.mark.parametrize(
    ("said_by_it", "shown"),
    [
        (r"\x1b[31mred\x1b[0m", "red"),
        (r"\x1b]0;owned\x07y", r"\x1b]0;owned\x07y"),
        (r"\x1bc", r"\x1bc"),
        (r"a\u009b31m", r"a\x9b31m"),
        (r"100%\u202e|", r"100%\u202e|"),
    ],
)
def test_its_log_reaches_no_terminal_as_control_characters(said_by_it, shown, caplog):
    with caplog.at_level("INFO"), Child(python(f'print("{said_by_it}")'), name="vendor") as child:
        assert child.wait(240)
        assert child.death().endswith(f"\n{shown}")
    assert child.last_line == shown
    assert f"vendor: {shown}" in caplog.messages


def test_not_ready_in_time_is_told_with_the_log():
    with (
        Child(python("print('compiling', flush=True); import time; time.sleep(600)"), name="vendor") as child,
        pytest.raises(LoadFailed, match=r"did not become ready within 0\.05 s"),
    ):
        child.wait_ready(lambda: False, 0.05, lambda _: None, every=0.01)


def test_a_command_that_does_not_exist():
    child = Child(["no-such-program"], name="vendor")
    until(lambda: not child.running, "the shim gives up")
    assert "no-such-program" in child.death()
    assert child.status() == 127
    child.stop()


@pytest.mark.parametrize("where", ["the process", "its reader"])
def test_ctrl_c_while_it_starts_leaves_nothing_behind(where, monkeypatch):
    started: list[int] = []
    popen, start = subprocess.Popen.__init__, threading.Thread.start

    def started_process(process, *arguments, **options):
        popen(process, *arguments, **options)
        started.append(process.pid)
        if where == "the process":
            process._child_created = False  # as where Ctrl-C comes while it waits for the program to begin
            process.stdout.close()
            raise KeyboardInterrupt

    def started_thread(thread):
        start(thread)
        if thread.name == "vendor-log":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", started_process)
        patch.setattr(threading.Thread, "start", started_thread)
        # Whoever holds the error holds what its frames hold: nothing may depend on that being let go.
        with pytest.raises(KeyboardInterrupt) as raised:
            Child(python("import time; time.sleep(600)"), name="vendor", grace=0.2)
    (shim,) = started
    until(lambda: not alive(shim), "what was started ends")
    with contextlib.suppress(ChildProcessError):
        os.waitpid(shim, 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "vendor-log"]
    del raised


def test_no_more_threads_is_said_and_leaves_nothing_behind(monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(LoadFailed, match="vendor cannot be started: can't start new thread"):
        Child(python("import time; time.sleep(600)"), name="vendor", grace=0.2)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(LoadFailed, match="cannot be started"):
        Child(python(""), name="vendor", cwd=tmp_path / "none")


def test_a_flood_of_output_is_bounded():
    with Child(python("import sys; sys.stdout.write('x' * 5_000_000); print(); print('end')"), name="vendor") as child:
        said(child, "end")
        assert len(child.tail(10_000)) < 1_000_000


def test_a_flood_is_counted_and_its_end_kept(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("offboard_core.process.child._LOGGED", 10)
    with Child(python("for i in range(5000): print('line', i)"), name="vendor") as child:
        until(lambda: not child.running, "it ends")
        child.death()
    logged = sum("vendor: line" in message for message in caplog.messages)
    counted = re.findall(r"and ([\d,]+) lines?, which came too quickly", caplog.text)
    assert counted
    assert logged + sum(int(number.replace(",", "")) for number in counted) == 5000
    assert child.tail(3) == "line 4997\nline 4998\nline 4999"


def test_free_ports_differ():
    assert 0 < free_port() < 65536


def test_whoever_is_left_when_the_shim_alone_is_killed_is_stopped():
    with Child(python(GRANDCHILD), name="vendor", grace=0.2) as child:
        pid = grandchild_of(child)
        os.kill(child._process.pid, signal.SIGKILL)
        until(lambda: not child.running, "the shim is gone")
        assert alive(pid), "nobody has ended it"
    until(lambda: not alive(pid), "it ends with the child")


def test_a_log_that_somebody_keeps_open_costs_no_thread_and_no_descriptor():
    deserter = """
        import subprocess, sys, time
        p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print("grandchild", p.pid, flush=True)
        time.sleep(600)
    """
    before = len(os.listdir("/proc/self/fd"))
    with Child(python(deserter), name="vendor", grace=0.2) as child:
        pid = grandchild_of(child)
        os.kill(child._process.pid, signal.SIGKILL)  # else that would end it
        until(lambda: not child.running, "the shim is gone")
    try:
        assert alive(pid), "it has left the group"
        until(lambda: not child._reader.is_alive(), "its log is read no more")
        until(lambda: len(os.listdir("/proc/self/fd")) <= before, "it is closed")
    finally:
        os.kill(pid, signal.SIGKILL)
