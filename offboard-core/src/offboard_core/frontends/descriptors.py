"""File descriptors: each connection takes one, and some are kept back so that a server without any can still say so."""

from __future__ import annotations

import logging
import resource
import socket

log = logging.getLogger(__name__)

#: Kept back. Health and refusals are answered on them, and files are read.
RESERVE = 64
#: What a process has open beside its connections: libraries, devices, the pipes of children.
_OWN = 128


def provide(connections: int, more: int = 0) -> None:
    """Raise this process's limit so that it has enough for so many connections, and say so where it cannot.

    ``more``: what is good to have as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + RESERVE + _OWN
    if soft == resource.RLIM_INFINITY or soft >= needed + more:
        return
    within = needed + more if hard == resource.RLIM_INFINITY else min(needed + more, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (within, hard))
    if within < needed:
        log.warning(
            "%d sessions (--max-sessions) need %d file descriptors and the system allows this process %d: "
            "sessions beyond these are refused; raise the limit (ulimit -Hn, LimitNOFILE of systemd)",
            connections, needed, within,
        )  # fmt: skip


def lacking(newest: int) -> int:
    """How many have to be given back for the reserve to be whole. The lowest free number is always given out."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else max(0, newest + 1 - (soft - RESERVE))


def scarce() -> bool:
    """Whether the next one would be of the reserve."""
    try:
        with socket.socket() as probe:
            return lacking(probe.fileno()) > 0
    except OSError:
        return True
