"""Waits that end: for what somebody tells of, and for what nobody tells of. Needs no package of ours."""

import threading
import time
from collections.abc import Callable

#: Seconds after which a wait has failed. It guards against hangs and decides nothing.
PATIENCE = 120.0


def reached(event: threading.Event) -> None:
    """Wait for what has to happen."""
    assert event.wait(PATIENCE), "this did not happen"


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what nobody tells of."""
    end = time.monotonic() + 2 * PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)
