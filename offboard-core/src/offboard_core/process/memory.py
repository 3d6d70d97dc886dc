"""Giving freed memory back to the system, before another process needs it."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

#: Seconds to wait for another thread's collection: below what closing a model may take.
PATIENCE = 2.0


def collect() -> None:
    """Free what only cycles hold: a full collection by this thread.

    ``gc.collect`` alone returns at once, with nothing done, while another thread is collecting; it is asked again until
    that one is through, for two seconds at most.
    """
    this, done = threading.get_ident(), False

    def collected(phase: str, info: dict[str, Any]) -> None:
        nonlocal done
        done = done or (phase == "stop" and info["generation"] == 2 and threading.get_ident() == this)

    gc.callbacks.append(collected)
    try:
        end = time.monotonic() + PATIENCE
        gc.collect()
        while not done and time.monotonic() < end:
            time.sleep(0.01)
            gc.collect()
    finally:
        gc.callbacks.remove(collected)
