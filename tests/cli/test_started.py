"""The tests' ``offboard`` that is forked finds what the script finds that is installed."""

import json
import os
import subprocess
import sys

import pytest
from offboard_process import LIMIT, command, environment, killed_if_it_hangs, started
from plugin_dists import write_plugin

SOURCE = """
    from offboard_client.plugins import Command

    COMMAND = Command("tell", "Tells what it finds.", f"{__name__}:tell")

    def tell(arguments):
        import gc, json, logging, os, signal, sys, threading

        found = {
            "arguments": [sys.argv, arguments], "environment": dict(os.environ), "folder": os.getcwd(),
            "python": [sys.executable, sys.flags, sys.warnoptions, sys.path, os.stat(0).st_rdev],
            "open": sorted(os.listdir("/proc/self/fd"), key=int)[:-1], "group": os.getpgrp() == os.getpid(),
            "parent": os.getppid(), "session": os.getsid(0) == os.getpid(), "nice": os.nice(0), "mask": os.umask(0o22),
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
            "threads": [thread.name for thread in threading.enumerate()],
            "collects": [gc.isenabled(), gc.get_threshold()],
            "loggers": [logging.root.level, len(logging.root.handlers)],
            "streams": [
                [one.name, one.encoding, one.errors, one.line_buffering, one.fileno(), one.isatty()]
                for one in (sys.stdin, sys.stdout, sys.stderr)
            ],
        }
        print(json.dumps(found))
        print("on stderr", file=sys.stderr)
        return 7
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is forked on Linux only")
@pytest.mark.parametrize("new_session", [False, True])
def test_who_is_forked_finds_what_the_script_finds(tmp_path, new_session):
    write_plugin(tmp_path / "site", "tell", SOURCE, group="offboard.commands", attr="COMMAND")
    popen = {
        "env": environment(tmp_path / "site", ONLY="here"), "cwd": tmp_path, "start_new_session": new_session,
        "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True,
    }  # fmt: skip
    found = []
    for process in (subprocess.Popen([command(), "tell", "it"], **popen), started("tell", "it", **popen)):
        with process, killed_if_it_hangs(process):
            out, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, err) == (7, "on stderr\n")
        found.append(json.loads(out))
    assert found[1] == found[0]
    assert found[1]["parent"] == os.getpid()
    assert found[1]["session"] is new_session
