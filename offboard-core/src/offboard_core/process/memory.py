"""Giving freed memory back to the system before another process needs it, and whether the kernel has killed for it."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from pathlib import Path
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


def resident_bytes(pid: int | str = "self") -> int | None:
    """What a process holds of the machine's memory; None where nothing tells, or there is no such process."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def oom_kills() -> int:
    """How many processes of this one's control group the kernel has killed for want of memory; 0 where nothing tells.

    A higher number after a SIGKILL says who sent it. The machine's own memory may run out without it.
    """
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        group = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        events = Path("/sys/fs/cgroup" + group[3:], "memory.events").read_text().split()
        return int(events[events.index("oom_kill") + 1])
    return 0
