"""Whatever a worker does, its server lives, tells its robots, and starts it again."""

import contextlib
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from offboard_client.errors import InferTimeout, LoadFailed, ModelLost, PolicyFailed
from offboard_core.types import ALONE, NO_CONTEXT, Elsewhere, Health, Item, Progress
from waits import reached, until
from worker_vendor import CHECKPOINT, PupilOptions, loader


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("offboard_core.process.supervisor.BACK_OFF", 0.001)


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """What runs before: the process that other files' commands are forked from stays."""
    monkeypatch.setattr(children, "before", running(), raising=False)


def running():
    return {child.pid for child in psutil.Process().children(recursive=True)}


def children():
    return running() - children.before


@contextlib.contextmanager
def loaded(options=None, **isolation):
    policy = loader(options, **isolation).load(CHECKPOINT, lambda _: None, ALONE)
    try:
        yield policy
    finally:
        policy.close()


def do(session, what, **inputs):
    return session.infer({"do": what, **inputs}, NO_CONTEXT)


def pid(session):
    return int(do(session, "pid").action[0, 0])


def back(policy):
    until(lambda: policy.health() == Health(), "it is back")


@contextlib.contextmanager
def held_up(policy):
    """Its next worker is started at the end: on a busy machine it would be there before the test looks."""
    supervisor, go = policy.worker._supervisor, threading.Event()
    start, supervisor._start = supervisor._start, lambda: (reached(go), start())[1]
    try:
        yield
    finally:
        go.set()
        supervisor._start = start


def raise_and_die():
    with loaded() as policy:
        session = policy.new_session(policy.params())
        for what in ("raises", "kill"):
            with pytest.raises(PolicyFailed):
                do(session, what)
        back(policy)


class TestEnds:
    def test_each_thing_is_logged_once(self, caplog):
        """The log of a worker is in the server's already when it ends."""
        caplog.set_level(logging.INFO)
        raise_and_die()
        assert caplog.text.count("ValueError: the hand is not there") == 1
        assert caplog.messages.count("pupil's worker was killed by SIGKILL") == 1
        caplog.clear()
        with pytest.raises(LoadFailed), loaded(PupilOptions(load="fails")):
            pass
        assert "the weights are another model's" not in caplog.text, "it is the error's to say"

    def test_the_end_of_its_log_is_told_where_the_log_is_not(self, caplog):
        caplog.set_level(logging.WARNING)
        raise_and_die()
        assert caplog.text.count("ValueError: the hand is not there") == 1

    def test_in_mid_inference(self):
        """Each costs one answer, which says how it ended; then it is there again, as often as it takes."""
        with loaded() as policy:
            session, seen = policy.new_session(policy.params()), set()
            for what, error, text in [
                (
                    "kill",
                    PolicyFailed,
                    "pupil's worker was killed by SIGKILL in mid-call; .*it (is being|was) restarted; try again",
                ),
                ("segfault", PolicyFailed, "was killed by SIGSEGV in mid-call"),
                ("exits", PolicyFailed, "exited with code 0 in mid-call"),
                ("forks", PolicyFailed, "exited with code 0 in mid-call"),
                ("hangs", InferTimeout, "did not answer within 0.1 s; it is being restarted"),
                ("sleeps", InferTimeout, "did not answer within 0.1 s; it is being restarted"),
            ]:
                session.reset()
                seen.add(pid(session))
                policy.worker.infer_timeout = 0.1 if error is InferTimeout else 600.0
                with held_up(policy):
                    with pytest.raises(error, match=text):
                        do(session, what)
                    assert policy.health().state == "recovering"
                policy.worker.infer_timeout = 600.0
                back(policy)
            assert len(seen) == 6
            until(lambda: len(children()) == 2, "nothing is left but the shim and its worker")
            gone = [process for process in seen if psutil.pid_exists(process)]
            assert not gone

    def test_as_it_is_about_to_be_asked(self, monkeypatch):
        """The next one is asked nothing before it has loaded: its first answer says what it is."""
        with loaded() as policy:
            worker, session = policy.worker, policy.new_session(policy.params())
            supervisor, first = type(worker._supervisor), pid(session)
            up, before, asked = supervisor.up.fget, worker._channel, []
            probe, seen = worker._supervisor._probe, threading.Event()
            worker._supervisor._probe = lambda: seen.is_set() and probe()

            def up_and_killed(self):
                if asked:
                    return up(self)
                asked.append(up(self))
                os.kill(first, signal.SIGKILL)
                until(lambda: worker._channel not in (before, None), "the next one begins")
                return asked[0]

            with monkeypatch.context() as patched:
                patched.setattr(supervisor, "up", property(up_and_killed))
                with pytest.raises(PolicyFailed, match=r"^pupil's worker is being restarted .*try again later"):
                    do(session, "pid")
            assert asked == [True]
            seen.set()
            back(policy)
            session.reset()
            assert pid(session) != first

    def test_a_connection_is_closed_when_nobody_is_in_it_any_more(self):
        """Who is about to read from it would read from the next one's, which may get its number."""
        inside, told, within, go = threading.Event(), threading.Event(), [], threading.Event()

        class Slow:
            def __init__(self, real):
                self.real, self.hung_up = real, 0

            def __getattr__(self, name):
                return getattr(self.real, name)

            def recvmsg_into(self, *given):
                inside.set()
                try:
                    return self.real.recvmsg_into(*given)
                finally:
                    reached(go)
                    inside.clear()

            def shutdown(self, how):
                self.hung_up += 1
                self.real.shutdown(how)

            def close(self):
                within.append(inside.is_set())
                self.real.close()

        with loaded() as policy:
            session, channel = policy.new_session(policy.params()), policy.worker._channel
            channel._socket = slow = Slow(channel._socket)

            def ask():
                with contextlib.suppress(PolicyFailed):
                    do(session, "kill")
                told.set()

            threading.Thread(target=ask).start()
            until(lambda: slow.hung_up == 2, "the next one is to begin")
            go.set()
            reached(told)
            back(policy)
        assert within == [False]

    def test_by_its_own_close(self, tmp_path):
        with loaded(PupilOptions(closed=tmp_path / "closed")):
            assert not (tmp_path / "closed").exists()
        assert (tmp_path / "closed").exists()

    def test_between_two(self):
        with loaded() as policy:
            session = policy.new_session(policy.params())
            with held_up(policy):
                os.kill(pid(session), signal.SIGKILL)
                until(lambda: policy.health().state == "recovering", "that is noticed")
                with pytest.raises(PolicyFailed, match=r"is being restarted"):
                    do(session, "count")
            back(policy)

    def test_what_an_episode_remembered_is_not_made_up(self):
        """Its policy remembers: the same session goes on only after a reset."""
        with loaded() as policy:
            session = policy.new_session(policy.params())
            assert do(session, "count").action.item() == 1
            with pytest.raises(PolicyFailed):
                do(session, "kill")
            back(policy)
            for _ in range(2):
                with pytest.raises(PolicyFailed, match=r"started again.*reset the session, or open another"):
                    do(session, "count")
            session.reset()
            assert do(session, "count").action.item() == 1
            session.close()

    def test_who_remembers_nothing_goes_on_unless_a_control_has_touched_it(self):
        with loaded(PupilOptions(forgets=True)) as policy:
            session, mark = policy.new_session(policy.params()), policy.controls["mark"]
            for touched in (False, True):
                if touched:
                    mark.run(session, mark.params(where=0.5))
                with pytest.raises(PolicyFailed):
                    do(session, "kill")
                back(policy)
                if touched:
                    with pytest.raises(PolicyFailed, match=r"reset the session, or open another"):
                        do(session, "count")
                    session.reset()
                assert do(session, "count").action.item() == 1

    def test_what_comes_back_as_another_one_is_given_up(self, tmp_path):
        """Its sessions go by what was declared."""
        odd = (
            f"import pathlib\nfile, true = pathlib.Path({str(tmp_path / 'been')!r}), main.Hosted.described\n"
            "main.Hosted.described = lambda s: {**true(s), 'max_sessions': 5 if file.exists() else 9}\n"
        )
        with loaded(python=_program(tmp_path, odd), restarts=1) as policy:
            (tmp_path / "been").touch()
            with pytest.raises(PolicyFailed):
                do(policy.new_session(policy.params()), "kill")
            until(lambda: policy.health().state == "failed", "it is given up")
            assert "has loaded something else than before: its policy declares other things" in policy.health().reason

    def test_one_that_compiles_comes_back_with_what_came_of_it_this_time(self, tmp_path):
        """No load is as fast as the one before to the last digit."""
        file = tmp_path / "been"
        odd = (
            f"import pathlib\nfile, true = pathlib.Path({str(file)!r}), main.Hosted.described\n"
            "main.Hosted.described = lambda s: {**(d := true(s)), 'meta': {**d['meta'], 'compiled': file.exists()}}\n"
        )
        with loaded(python=_program(tmp_path, odd)) as policy:
            assert policy.meta["compiled"] is False
            file.touch()
            with pytest.raises(PolicyFailed):
                do(policy.new_session(policy.params()), "kill")
            back(policy)
            assert policy.meta["compiled"] is True
            assert policy.meta["chunk_length"] == 2

    def test_what_came_of_compiling_is_measured_anew_and_said_as_it_is_by_then(self):
        with loaded(PupilOptions(load="compiled")) as policy:
            first, session = policy.meta["compiled"], policy.new_session(policy.params())
            assert first["used"] is True
            do(session, "gives_up")
            assert policy.meta["compiled"] == {"used": False, "how": "by hand", "problems": ["it failed"]}
            assert policy.meta["chunk_length"] == 2
            do(session, "count")
            with pytest.raises(PolicyFailed):
                do(session, "kill")
            back(policy)
            assert policy.meta["compiled"]["used"] is True
            assert policy.meta["compiled"]["speedup"] != first["speedup"]

    def test_news_that_are_none_are_no_answer(self, tmp_path):
        odd = "main.Hosted._news = lambda self: [[1]]\n"
        with loaded(python=_program(tmp_path, odd)) as policy, pytest.raises(PolicyFailed, match="sent no answer"):
            policy.new_session(policy.params())

    def test_a_session_that_is_opened_meanwhile_begins_when_it_is_back(self):
        with loaded() as policy:
            with pytest.raises(PolicyFailed):
                do(policy.new_session(policy.params()), "kill")
            session = policy.new_session(policy.params())
            back(policy)
            assert do(session, "count").action.item() == 1

    def test_again_and_again_is_given_up(self):
        with loaded(restarts=1) as policy:
            for _ in range(2):
                session = policy.new_session(policy.params())
                with pytest.raises(PolicyFailed):
                    do(session, "exits")
                until(lambda: policy.health().state != "recovering", "that is decided")
            assert policy.health().state == "failed"
            with pytest.raises(ModelLost, match=r"failed 2 times in a row: pupil's worker exited with code 0"):
                do(session, "count")

    def test_health_is_its_own(self, tmp_path):
        with loaded(PupilOptions(sick=tmp_path / "sick")) as policy:
            assert policy.health() == Health()
            (tmp_path / "new").write_text("recovering:the GPU is hot")
            (tmp_path / "new").replace(tmp_path / "sick")
            until(lambda: policy.health() == Health("recovering", "the GPU is hot"), "it says so")
            (tmp_path / "sick").unlink()
            back(policy)


class TestLoads:
    @pytest.mark.parametrize(
        ("load", "permanent", "text"),
        [
            ("fails", True, "^the weights are another model's: take the right ones$"),
            ("lacks", True, "No module named 'no_such_library'"),
            ("leaves", False, "SystemExit"),
            ("nothing", False, "the loader made NoneType; expected a Policy"),
            ("kill", False, "pupil's worker was killed by SIGKILL[\\s\\S]*memory"),
        ],
    )
    def test_a_load_that_fails_says_why(self, load, permanent, text):
        before = children(), {t for t in threading.enumerate() if "pupil" in t.name}
        with pytest.raises(LoadFailed, match=text) as raised, loaded(PupilOptions(load=load)):
            pass
        assert raised.value.permanent is permanent
        until(lambda: not children() - before[0], "nothing of it runs")
        assert {t for t in threading.enumerate() if "pupil" in t.name} <= before[1]

    def test_progress_is_told_as_it_is(self):
        told = []
        loader().load(CHECKPOINT, told.append, ALONE).close()
        assert told[0] == "starting a worker"
        assert type(told[-1]) is Progress
        assert (told[-1].phase, told[-1].done, told[-1].total) == ("fetching weights", 5, 10)

    def test_one_that_says_nothing_is_given_up(self):
        with (
            pytest.raises(LoadFailed, match="nothing was heard of pupil's worker for"),
            loaded(PupilOptions(load="hangs"), load_timeout=0.3),
        ):
            pass
        until(lambda: not children(), "nothing of it runs")

    def test_one_that_somebody_has_stopped_is_given_up(self, monkeypatch):
        def report(message):
            if message != "starting a worker":  # it has said what it is
                monkeypatch.setattr("offboard_core.workers.ears.PATIENCE", 0.2)

        with pytest.raises(LoadFailed, match=r"pupil's worker, process \d+, was stopped by somebody \(SIGSTOP\)"):
            loader(PupilOptions(load="stops")).load(CHECKPOINT, report, ALONE)
        until(lambda: not children(), "nothing of it runs")

    def test_one_that_nobody_waits_for_any_more_ends(self, tmp_path):
        def report(message):
            if message != "starting a worker":
                raise LoadFailed("nobody waits for it any more")

        with pytest.raises(LoadFailed, match="nobody waits"):
            loader(PupilOptions(load="hangs")).load(CHECKPOINT, report, ALONE)
        until(lambda: not children(), "nothing of it runs")

    def test_an_interpreter_that_is_none(self, tmp_path):
        for path in (tmp_path / "python", tmp_path):
            with pytest.raises(LoadFailed, match="is no program that can be run") as raised, loaded(python=path):
                pass
            assert raised.value.permanent

    def test_an_interpreter_is_made_when_it_is_needed(self, tmp_path):
        told = []

        def make(report):
            report("making an environment")
            raise LoadFailed("no network", permanent=True)

        with pytest.raises(LoadFailed, match=r"^no network$"):
            loader(python=make).load(CHECKPOINT, told.append, ALONE)
        assert told == ["making an environment"]


ODD = """#!{python}
import runpy, struct, sys, os, socket, array
from offboard_core.workers import channel, main
from offboard_core.workers.channel import Channel
write, place, calls = Channel.write, Channel._place, []
def sends(data, *more):
    def odd(self, number, *, kept=False):
        calls.append(number)
        if len(calls) < LATER:  # the description of its policy
            return write(self, number, kept=kept)
        self._socket.sendmsg([data(self, number)], *more)
    Channel.write = odd
header, LATER = struct.Struct("<IIQQ"), 2
{odd}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


FAR = """
true = channel._PLACE
class Far:
    size, unpack_from = true.size, true.unpack_from
    def pack(self, o, c, n):
        return true.pack(%s)
channel._PLACE = Far()
"""


DEEP = """
data = b"\\x90"
for _ in range(5000):
    data = b"\\x91\\xc9" + len(data).to_bytes(4, "big") + b"\\x01" + data
sends(lambda s, n: header.pack(len(data), 0, n, 0) + data)
"""
#: The bytes of one array are those of another one, too.
TWICE = """
def twice(self, number, *, kept=False):
    if self._used:
        self._body = self._body[:-1] + self._body[-30:-1]
    return write(self, number, kept=kept)
Channel.write = twice
"""
HELLO = """
import json
true = json.dumps
json.dumps = lambda x: true({**x, "pid": %s} if type(x) is dict and "hello" in x else x)
"""


class TestLies:
    """A worker that says what it may not: that is not believed, and it is stopped."""

    @pytest.mark.parametrize(
        ("odd", "text"),
        [
            ("sends(lambda s, n: b'x' * 100)", "announces 2,021,161,080 bytes of plain data"),
            ("sends(lambda s, n: header.pack(2, 0, n, 0) + b'\\xc1\\xc1')", "2 bytes that are no message"),
            ("sends(lambda s, n: header.pack(len(s._body), 0, n + 1, s._used) + s._body)", "in place of"),
            ("sends(lambda s, n: header.pack(len(s._body), 0, n, 0) + s._body + b'more')", "more than it was asked"),
            ("sends(lambda s, n: header.pack(len(s._body), 4, n, 0) + s._body)", "flags that mean nothing"),
            ("sends(lambda s, n: header.pack(len(s._body), 1, n, 0) + s._body)", "passes 0 descriptors"),
            ("sends(lambda s, n: header.pack(len(s._body), 0, n, 1 << 40) + s._body)", "memory of"),
            ("sends(lambda s, n: header.pack(1, 0, n, 0) + b'\\x90')", "what is no answer"),
            ("LATER = 3\nsends(lambda s, n: header.pack(5, 0, n, 0) + b'\\x92\\xa2ok\\x05')", "no 1 answers"),
            ("LATER = 3\n" + DEEP, "tuples lie more than 16 deep"),
            ("LATER = 3\nsends(lambda s, n: header.pack(6, 0, n, 0) + b'\\x92\\xa2ok\\x91\\x05')", "what is no result"),
            (
                "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1]))]\n"
                "sends(lambda s, n: header.pack(len(s._body), 0, n, 0) + s._body, rights)",
                "passes 2 descriptors",
            ),
            (
                "fd = os.memfd_create('x')\nos.ftruncate(fd, 1 << 20)\n"
                "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))]\n"
                "sends(lambda s, n: header.pack(len(s._body), 1, n, s._used) + s._body, rights)",
                "its memory is not sealed",
            ),
            (
                "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [2]))]\n"
                "sends(lambda s, n: header.pack(len(s._body), 1, n, s._used) + s._body, rights)",
                "is no memory|not sealed",
            ),
            (FAR % "1 << 62, c, n", "an array of shape \\(3, 2\\) at"),
            (
                "import fcntl\nfd = os.memfd_create('x', os.MFD_ALLOW_SEALING)\nos.ftruncate(fd, 1 << 31)\n"
                "fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 7)\n"
                "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))]\n"
                "sends(lambda s, n: header.pack(len(s._body), 1, n, s._used) + s._body, rights)",
                "its memory has 2,147,483,648 bytes; expected 1 to 1,073,741,824",
            ),
            (TWICE, "an array of shape \\(3, 2\\) at 0 of 48 bytes"),
            (FAR % "o, 99, n", "an array that cannot be"),
            (FAR % "o, c, n - 1", "an array that cannot be"),
        ],
    )  # fmt: skip
    def test_of_its_answers(self, tmp_path, odd, text):
        def ask(policy):
            # Which of the two is answered wrongly depends on what it lies about.
            policy.infer_many([Item(policy.new_session(policy.params()), {"do": "echo", "state": np.ones((3, 2))})])

        with loaded(python=_program(tmp_path, odd)) as policy, held_up(policy):
            with pytest.raises(PolicyFailed, match=f"pupil's worker sent .*({text}).*restarted"):
                ask(policy)
            assert policy.health().state == "recovering"

    @pytest.mark.parametrize(
        ("odd", "text", "permanent"),
        [
            ("main.__version__ = '99.1'", "offboard-core '99.1' and this server .*restart it", True),
            (HELLO.replace("%s", "[1]"), "what is no event", False),
            (
                "d = main.Hosted.described\nmain.Hosted.described = lambda s: {**d(s), 'controls': 5}",
                "in a way that",
                False,
            ),
            ("main.Events.failed = lambda *_: None\nmain.Hosted.described = lambda s: 5", "what cannot be", False),
            ("main.Events.tell = lambda s, **e: s._socket.sendall(b'\\xff' * 99)", "what is no event", False),
            ("main.Events.tell = lambda s, **e: s._socket.sendall(b'\\x02\\0\\0\\0{]')", "what is no event", False),
        ],
    )
    def test_of_its_load(self, tmp_path, odd, text, permanent):
        with pytest.raises(LoadFailed, match=text) as raised, loaded(python=_program(tmp_path, odd)):
            pass
        assert raised.value.permanent is permanent

    def test_of_its_being_there(self, tmp_path):
        """One that hangs up and lives is none that can be asked: another one is started."""
        odd = "import time\nsends(lambda s, n: (s._socket.shutdown(2), time.sleep(600)))\nLATER = 3"
        with loaded(python=_program(tmp_path, odd)) as policy, held_up(policy):
            session = policy.new_session(policy.params())
            with pytest.raises(PolicyFailed, match=r"sent nothing more \(it hung up\); it is being restarted"):
                do(session, "count")
            assert policy.health().state == "recovering"

    def test_of_what_it_has_loaded(self, tmp_path, monkeypatch):
        """It is loaded, it says, and never what."""
        monkeypatch.setattr("offboard_core.workers.worker.PATIENCE", 0.3)
        odd = "import time\nLATER = 0\nsends(lambda s, n: time.sleep(600))\nmain.Channel.pack = lambda s, v: None"
        odd += "\ntrue = main.Events.tell\nmain.Events.tell = lambda s, **e: true(s, **e, **{'loaded': True})"
        said = r"0\.3 s after it had loaded it had not said what"
        with pytest.raises(LoadFailed, match=said), loaded(python=_program(tmp_path, odd)):
            pass
        until(lambda: not children(), "nothing of it runs")

    def test_of_reading_what_it_is_to_load(self, tmp_path, monkeypatch):
        monkeypatch.setattr("offboard_core.workers.worker.PATIENCE", 0.3)
        path = tmp_path / "python"
        path.write_text("#!/bin/sh\nexec sleep 600\n")
        path.chmod(0o755)
        large = replace(CHECKPOINT, extras={"notes": "x" * (4 << 20)})
        with pytest.raises(LoadFailed, match=r"did not read within 0\.3 s what it is to load"):
            loader(python=path).load(large, lambda _: None, ALONE)
        until(lambda: not children(), "nothing of it runs")

    def test_a_flood_of_events_waits(self, monkeypatch):
        ears, slept = importlib.import_module("offboard_core.workers.ears"), []
        monkeypatch.setattr(ears.time, "sleep", slept.append)
        ours, theirs = socket.socketpair()
        with theirs:
            one = ears.Ears(ours, lambda: None, lambda: None, "pupil")
            event = b'{"progress": "on and on"}'
            theirs.sendall((len(event).to_bytes(4, "little") + event) * 1000)
            until(lambda: sum(slept) >= 1000 * ears._EACH, "each has been given its time")
            assert max(slept) < 0.3, "and whether a call takes too long is looked at meanwhile"
            one.close()

    @pytest.mark.parametrize("pid", ["1", "0", "-1", "the server's", "1 << 70"])
    def test_of_its_process(self, tmp_path, pid):
        """What the server says of it is not said of another one."""
        odd = HELLO % (os.getpid() if pid == "the server's" else pid)
        with loaded(python=_program(tmp_path, odd)) as policy:
            assert policy.elsewhere() == Elsewhere(pid=None, python=".".join(map(str, sys.version_info[:3])))

    def test_of_its_version_however_quickly_it_loads(self, tmp_path, monkeypatch):
        Ears = importlib.import_module("offboard_core.workers.ears").Ears
        heard, take = [], Ears._take

        def looks_late(ears, seconds):
            until(lambda: any("loaded" in event for event in heard), "it is loaded")

        monkeypatch.setattr(Ears, "_take", lambda ears, event: (take(ears, event), heard.append(event)))
        monkeypatch.setattr(Ears, "news", looks_late)
        python = _program(tmp_path, "main.__version__ = '99.1'")
        with pytest.raises(LoadFailed, match=r"offboard-core '99\.1'") as raised, loaded(python=python):
            pass
        assert raised.value.permanent


def _program(folder, odd):
    path = folder / "python"
    path.write_text(ODD.format(python=sys.executable, odd=odd))
    path.chmod(0o755)
    return path


def is_over(process):
    """Whether it has ended, its parent having been told or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestServers:
    def test_a_worker_ends_with_its_server(self, tmp_path):
        code = (
            "import sys; sys.path[:0] = sys.argv[1].split(':')\n"
            "from offboard_core.types import *\nfrom worker_vendor import *\n"
            "s = (p := loader().load(CHECKPOINT, lambda _: None, ALONE)).new_session(p.params())\n"
            "print(int(s.infer({'do': 'pid'}, NO_CONTEXT).action[0, 0]), flush=True)\n"
            "s.infer({'do': 'hangs'}, NO_CONTEXT)\n"
        )
        path = str(Path(__file__).parents[1] / "support")
        server = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
        worker = psutil.Process(int(server.stdout.readline()))
        server.kill()
        server.wait()
        server.stdout.close()
        until(lambda: is_over(worker), "the worker ends, too")

    @pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.slow)])
    def test_switches_give_everything_back(self, times):
        me, options = psutil.Process(), PupilOptions(megabytes=64)

        def switch():
            with loaded(options) as policy:
                session = policy.new_session(policy.params())
                do(session, "echo", state=np.ones((1 << 20, 1)))
                session.close()

        switch()
        fds, threads, memory = me.num_fds(), threading.active_count(), me.memory_info().rss
        for _ in range(times):
            switch()
        assert me.num_fds() <= fds
        assert threading.active_count() <= threads
        assert me.memory_info().rss - memory < (8 << 20) + times * (64 << 10)
        assert not children()
