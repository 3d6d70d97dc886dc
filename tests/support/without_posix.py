"""A Python as Windows and macOS have it: ``pytest -p without_posix`` hides what only other systems bring.

The modules of POSIX cannot be imported, nor can the server, which needs them. The functions and constants of ``os``,
``signal``, ``socket`` and ``time`` that Windows or macOS lacks are not there. What was loaded before keeps what it
holds: the standard library, pytest and the libraries, which are those of the system that this really runs on. What
these ask for while they run (``SIGKILL``, ``AF_UNIX``, ``getuid``) stays.
"""

from __future__ import annotations

import asyncio
import multiprocessing.shared_memory
import os
import pathlib
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import ModuleType

#: Loaded before anything is hidden: these look for it as they are loaded, or as they are used.
KEPT = (asyncio, multiprocessing.shared_memory, pathlib, selectors, shutil, subprocess, tempfile)

MODULES = """
    offboard_core _curses _posixshmem crypt curses fcntl grp nis ossaudiodev pty pwd readline resource spwd
    syslog termios tty
"""
NAMES: dict[ModuleType, str] = {
    os: """
        chown confstr ctermid eventfd fchmod fchown fdatasync fork forkpty getegid geteuid getgid
        getgroups getloadavg getpgid getpriority killpg lchown memfd_create mkfifo mknod nice
        openpty pathconf pipe2 posix_fadvise posix_fallocate pread preadv pwrite pwritev
        sched_getaffinity sched_setaffinity sched_yield sendfile setpgid setpriority setsid splice
        statvfs sync sysconf ttyname wait wait3 wait4 waitid
    """,
    signal: """
        SIGALRM SIGCHLD SIGCONT SIGHUP SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH alarm
        pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait
        sigwaitinfo
    """,
    socket: """
        SO_REUSEPORT TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_QUICKACK TCP_USER_TIMEOUT MSG_DONTWAIT
        MSG_NOSIGNAL SCM_RIGHTS recv_fds send_fds
    """,
    time: """
        CLOCK_BOOTTIME CLOCK_MONOTONIC CLOCK_REALTIME clock_gettime clock_gettime_ns tzset
    """,
}


def hide() -> None:
    """Take all of it away, in this process."""
    for name in MODULES.split():
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in NAMES.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)


hide()
