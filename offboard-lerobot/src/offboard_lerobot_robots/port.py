"""The serial port of an arm, which one program at a time may drive."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from offboard_client.errors import RobotFailed

try:
    import fcntl
    import termios
except ImportError:  # Windows, where a port is opened by one program at a time anyway
    fcntl = termios = None

#: Majors of pseudo-terminals: a container may have another one of the same number.
_PSEUDO = range(136, 144)


class Port:
    """Holds a serial port for this process, by whatever path it is named; until it is closed, or the process ends.

    A lock keeps out who asks for one, as every arm here does, before anything is sent. LeRobot's own commands do not
    ask: who has the port open already is looked for, and nobody can open it any more once it is :meth:`shut`, but root.
    """

    def __init__(self, path: Any) -> None:
        """``path``: what LeRobot's bus has as its port; what is no path of a terminal needs no lock."""
        self._path = path if isinstance(path, str) else ""
        self._file: int | None = None
        self._shut = False

    def take(self) -> None:
        """Raises RobotFailed where somebody has it. One that is not there is left to who opens it."""
        if fcntl is None or not self._path or not self._is_terminal():
            return
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            if error.errno in (errno.EBUSY, errno.EWOULDBLOCK):
                raise self._in_use(self._holders(), "nothing was sent") from error
            return  # not ours to open, or a system without such locks
        if others := self._holders() - {os.getpid()}:
            self.close()
            raise self._in_use(others, "nothing was sent")

    def shut(self) -> None:
        """From here on nobody else can open it. Raises RobotFailed where somebody has meanwhile."""
        if self._file is None or termios is None or fcntl is None:
            return
        with suppress(OSError):
            fcntl.ioctl(self._file, termios.TIOCEXCL)
            self._shut = True
        # What this process has forked meanwhile has all that it had open, and drives nothing.
        if others := {pid for pid in self._holders() if os.getpid() not in _line_of(pid)}:
            self.close()
            raise self._in_use(others, "the arm was being set up; its torque is switched off")

    def close(self) -> None:
        """Let others have it."""
        file, self._file = self._file, None
        if file is None:
            return
        if fcntl is not None and termios is not None:
            # Both would last for as long as anything else has the port open: a child of this process, for instance.
            with suppress(OSError):  # unplugged
                if self._shut:
                    fcntl.ioctl(file, termios.TIOCNXCL)
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
        self._shut = False
        os.close(file)

    # -- inside ----------------------------------------------------------------------------------------
    def _is_terminal(self) -> bool:
        # What is no terminal is not even opened: a pipe would wait, a printer would print.
        with suppress(OSError, ValueError):
            return stat.S_ISCHR(os.stat(self._path).st_mode)
        return False

    def _in_use(self, found: set[int], done: str) -> RobotFailed:
        holders = sorted(found, key=lambda pid: pid == os.getpid())
        if not holders:
            who = f"another program (sudo fuser -v {self._path} says which)"
        elif holders[0] == os.getpid():
            who = "this process, by another robot on the same port"
        else:
            who = f"process {holders[0]} ({_command(holders[0])})"
        return RobotFailed(
            f"the arm cannot be connected: {self._path} is in use by {who}, and two that drive one arm send it where "
            f"neither has checked. End that first; {done}"
        )

    def _holders(self) -> set[int]:
        """The processes that have it open, as far as this user may see; none where the system does not tell."""
        found = set[int]()
        with suppress(OSError):
            wanted, own = _device(os.stat(self._path)), f"/proc/{os.getpid()}/fd/{self._file}"
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError), os.scandir(process / "fd") as files:
                    for file in files:
                        with suppress(OSError):
                            if file.path != own and _device(os.stat(file.path)) == wanted:
                                found.add(int(process.name))
        return found


def _device(found: os.stat_result) -> tuple[int, ...]:
    """Which device it is, by whatever path."""
    own = (found.st_dev, found.st_ino) if os.major(found.st_rdev) in _PSEUDO else ()
    return (stat.S_IFMT(found.st_mode), found.st_rdev, *own)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "gone by now"


def _line_of(pid: int) -> Iterator[int]:
    """A process, the one that started it, and so on."""
    while pid > 0:
        yield pid
        try:
            # Behind its name, which may hold anything, stand its state and its parent.
            pid = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return
