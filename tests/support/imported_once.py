"""``offboard`` in a process of its own that need not import it all anew: forked from one that has, and does nothing."""

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from waits import PATIENCE

#: Of Linux's prctl.h: who is left without a parent becomes this process's child.
ADOPT = 36
#: What most of the time goes to until ``offboard serve`` listens.
WHAT_IT_COSTS = ("offboard_core.cli.serve", "offboard_core.server")
ONE_AT_A_TIME = threading.Lock()


class Forked(subprocess.Popen):
    """``Popen`` of ``offboard ARGUMENTS``, a child of this process as any.

    What Python itself reads when it starts is not for these: its options, and its variables but PYTHONPATH.
    """

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
        restore_signals, gid, gids, uid, umask, start_new_session, *_,
    ):  # fmt: skip
        assert not any((executable, preexec_fn, pass_fds, shell)), "these are not for who is forked"
        place = {
            "arguments": args, "env": dict(os.environ if env is None else env), "cwd": str(cwd or Path.cwd()),
            "new_session": start_new_session,
        }  # fmt: skip
        theirs = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = _fork(place, theirs)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def _fork(place, streams):
    origin = _origin()
    with ONE_AT_A_TIME, _adopting():
        socket.send_fds(origin, [json.dumps(place).encode()], streams)
        pid = int(origin.recv(32))
        assert origin.recv(32) == b"orphaned", "it is this process's child only then"
    return pid


@contextlib.contextmanager
def _adopting():
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    assert prctl(ADOPT, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        prctl(ADOPT, 0, 0, 0, 0)


@functools.cache
def _origin():
    """A socket of the process to fork; it ends with this one."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.settimeout(PATIENCE)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with theirs:
        number = theirs.fileno()
        process = subprocess.Popen([sys.executable, __file__, str(number)], env=env, pass_fds=[number])

    @atexit.register
    def end():
        mine.close()
        process.kill()  # whoever was forked from here may hold the other end, too
        process.wait()

    return mine


def _forks(mine):
    """Wait, and fork, until the other end is closed. In each fork: its arguments."""
    while message := socket.recv_fds(mine, 1 << 20, 3):
        text, streams, _, _ = message
        if not text:
            return None
        if (between := os.fork()) == 0:
            parent = os.getpid()
            if pid := os.fork():
                mine.send(str(pid).encode())
                os._exit(0)
            mine.close()
            while os.getppid() == parent:  # its child until that has ended, and then the test's
                time.sleep(0.0005)
            return _become(json.loads(text), streams)
        for stream in streams:
            os.close(stream)
        os.waitpid(between, 0)
        mine.send(b"orphaned")
    return None


def _become(place, streams):
    """What a process finds that is started by itself."""
    if place["new_session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))
    os.chdir(place["cwd"])
    os.environ.clear()
    os.environ.update(place["env"])
    command = Path(sys.executable).with_name("offboard")
    path = place["env"].get("PYTHONPATH", "")
    sys.path[:1] = [str(command.parent), *filter(None, path.split(os.pathsep))]
    sys.argv = [str(command), *place["arguments"]]
    return place["arguments"]


if __name__ == "__main__":
    from offboard_client.cli import main

    for name in WHAT_IT_COSTS:
        with contextlib.suppress(ModuleNotFoundError):  # a robot's computer has no server
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as socket_, contextlib.suppress(KeyboardInterrupt):
        assert threading.active_count() == 1, "only the thread that forks is in the fork"
        arguments = _forks(socket_)
    if arguments is not None:
        sys.exit(main(arguments))
