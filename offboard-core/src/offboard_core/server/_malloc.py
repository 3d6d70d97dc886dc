"""Tell glibc to keep the memory that messages free.

By default it hands large blocks back to the kernel and faults them in again for the next message: 450 page faults
for each pair of 640×480 images, half the time of the whole exchange. Done in the server's own process only.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Raise glibc's thresholds; nothing happens where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, size in ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 512 << 20), (_TOP_PAD, 64 << 20)):
            mallopt(parameter, size)
