"""Ends by signals that clean up after themselves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def terminable(interrupted: Callable[[], None] | None = None) -> Generator[None, None, None]:
    """SIGTERM and SIGHUP end what is inside as Ctrl-C does: by KeyboardInterrupt, so that everything is closed.

    ``interrupted``: called instead, for Ctrl-C too; it may raise KeyboardInterrupt itself.
    Outside the main thread, where Python delivers no signals, it changes nothing.
    """

    def interrupt(number: int, frame: Any) -> None:
        if interrupted is None:
            raise KeyboardInterrupt
        interrupted()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGHUP") if interrupted is None else ("SIGTERM", "SIGHUP", "SIGINT")
    before = {
        number: handler
        for number in (getattr(signal, name) for name in names if hasattr(signal, name))
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN  # as nohup has it
    }
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def unbroken() -> Generator[None, None, None]:
    """What is inside is done whole: Ctrl-C, SIGTERM and SIGHUP come when it is over, by KeyboardInterrupt.

    Outside the main thread it changes nothing.
    """
    came = list[bool]()
    with terminable(lambda: came.append(True)):
        yield
    if came:
        raise KeyboardInterrupt
