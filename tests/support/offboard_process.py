"""The ``offboard`` command in a process of its own. Every wait ends: a process that hangs is killed."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from imported_once import Forked
from offboard_client.cli import main

#: Long enough for a machine with other things to do; no test is about it.
LIMIT = 600.0


def environment(path=None, **more):
    """This environment without offboard's variables; ``path``: a folder of plugins to find as well."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("OFFBOARD_")}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    return {**env, "COLUMNS": "200", **more}


def offboard(*arguments, path=None, **env):
    """Run ``offboard ARGUMENTS`` to its end."""
    process = started(
        *arguments, env=environment(path, **env),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process, killed_if_it_hangs(process):
        out, err = process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def in_process(*arguments, path=None, **env):
    """The same for what starts no server: in this process, which need not import it all again."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    modules = set(sys.modules)
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name, value in {"COLUMNS": "200", **env}.items():
            patch.setenv(name, value)
        if path is not None:
            patch.syspath_prepend(str(path))
        try:
            status = main(list(map(str, arguments)))
        finally:
            for name in set(sys.modules) - modules:
                if path is not None and str(getattr(sys.modules[name], "__file__", "")).startswith(str(path)):
                    del sys.modules[name]
    return subprocess.CompletedProcess(arguments, status, *(said.buffer.getvalue().decode() for said in (out, err)))


@contextlib.contextmanager
def serving(*arguments, path=None, **env):
    """``offboard serve ARGUMENTS --port 0 --json``: the process and what its JSON line says."""
    process = started(
        "serve", *arguments, "--port", "0", "--json", env=environment(path, **env),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with killed_if_it_hangs(process):
            line = process.stdout.readline()
            assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.terminate()
        with killed_if_it_hangs(process):
            process.communicate()


@contextlib.contextmanager
def killed_if_it_hangs(process):
    """How long the block may take; how long the process lives is the test's affair."""
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
        watchdog.join()


def started(*arguments, **popen):
    """``subprocess.Popen`` of ``offboard ARGUMENTS``, for a fifth of the time where nothing has to be imported anew.

    How the script itself starts, tests/cli/test_serve.py, tests/scripted/test_demo.py and others prove.
    """
    arguments = list(map(str, arguments))
    if sys.platform == "linux" and hasattr(socket, "send_fds"):  # which the run without POSIX hides
        return Forked(arguments, **popen)
    return subprocess.Popen([command(), *arguments], **popen)


def command():
    """The script that is installed."""
    return str(Path(sys.executable).with_name("offboard"))
