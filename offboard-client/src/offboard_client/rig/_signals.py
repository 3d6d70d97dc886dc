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
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
