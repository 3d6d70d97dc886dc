"""Ends by signals that clean up after themselves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def terminable() -> Generator[None, None, None]:
    """SIGTERM and SIGHUP end what is inside as Ctrl-C does: by KeyboardInterrupt, so that everything is closed.

    Outside the main thread, where Python delivers no signals, it changes nothing.
    """

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: handler
        for number in (getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN  # as nohup has it
    }
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
