"""Keys as they are pressed, on a thread; the terminal is as it was in the end, whatever happens."""

from __future__ import annotations

import atexit
import codecs
import contextlib
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from ..errors import ConfigurationError

try:
    import termios
except ImportError:  # where there is no POSIX terminal
    termios = None

#: How long a thread may take that is in what a key does.
_LEAVING = 5.0
ENDED = ""
#: What a key that is no character sends, and a character together with Alt. Keys that follow in one read count.
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~]|[!-~])")


def require_keys() -> None:
    """Raises ConfigurationError where nobody can press any."""
    if termios is None or not sys.stdin.isatty():
        raise ConfigurationError(
            "the keyboard driver needs a terminal, and stdin is none (a pipe, a job in the background, a service): "
            "run it in one, over ssh with -t, or take --driver timed"
        )


@contextmanager
def pressed(on_key: Callable[[str], None]) -> Generator[None]:
    """Within, ``on_key`` is called with each key that is pressed, on a thread of its own; with :data:`ENDED` once at
    the end of the input.

    A key is one character; of those that send several at once (arrows) nothing is heard, nor of what was typed before.
    Signals of the keyboard stay signals, but Ctrl-S and Ctrl-Z are keys: a program that stands still holds no arm.
    Raises ConfigurationError where stdin is no terminal.
    """
    require_keys()
    assert termios is not None
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    put, now, gone = termios.tcsetattr, termios.TCSADRAIN, termios.error

    def restore() -> None:
        with contextlib.suppress(gone):  # a terminal that is no more
            put(fd, now, before)

    wake_up, woken = os.pipe()
    thread = threading.Thread(target=_read, args=(fd, wake_up, on_key), name="offboard-keys", daemon=True)
    atexit.register(restore)
    try:
        put(fd, termios.TCSAFLUSH, _by_key(before, fd))  # what was typed before was typed at something else
        thread.start()
        yield
    finally:
        restore()
        atexit.unregister(restore)
        os.close(woken)
        if thread.is_alive() and threading.current_thread() is not thread:
            thread.join(_LEAVING)
        os.close(wake_up)


def _by_key(before: list[Any], fd: int) -> list[Any]:
    assert termios is not None
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = before
    characters = [*characters]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    characters[termios.VSUSP] = bytes([os.fpathconf(fd, "PC_VDISABLE") & 0xFF])
    lflag &= ~(termios.ICANON | termios.ECHO)
    return [iflag & ~termios.IXON, oflag, cflag, lflag, ispeed, ospeed, characters]


def _read(fd: int, wake_up: int, on_key: Callable[[str], None]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
    while True:
        try:
            ready, _, _ = select.select([fd, wake_up], [], [])
            if wake_up in ready:
                return
            data = os.read(fd, 256)
        except OSError:
            data = b""
        if not data:
            on_key(ENDED)
            return
        for key in decoder.decode(_SEQUENCE.sub(b"", data)):
            on_key(key)
