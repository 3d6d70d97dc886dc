"""Whether a robot on the server's own machine may have its observations lie in memory that both share."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass

from ..errors import one_line
from ..memory import MemoryOffer, on_one_machine
from .finding import Finding

#: What is handed over to see whether it is taken, in bytes, and the seconds that each of its steps may take.
_SIZE, _WAIT = 1 << 16, 1.0
#: Characters of what a server says.
_LONGEST = 120

NO_OFFER = (
    "the server offers none: it was started with --no-shared-memory, is not on Linux, is older than this, or sees "
    "the connection come from another machine, as from a container with a network of its own or through a proxy"
)
NOBODY = (
    "nobody listens where the server says: it has a network of its own, as in a container, or is at the other end "
    "of a tunnel"
)
HUNG_UP = "the server hung up: it takes memory of its own user's processes, while it has descriptors to spare"


@dataclass(frozen=True)
class SharedMemory:
    """Whether memory was taken; ``why_not``: why it was not."""

    used: bool
    why_not: str = ""


def try_memory(raw: socket.socket, offer: MemoryOffer | None) -> SharedMemory | None:
    """Hand some over, as a robot's client does that has this connection; None where its ends are two machines."""
    name, peer = (str(each[0]).partition("%")[0] for each in (raw.getsockname(), raw.getpeername()))
    if not on_one_machine(name, peer):
        return None
    if sys.platform != "linux":
        return SharedMemory(False, "this system has none: it takes Linux")
    from ..memory import SEALED, Broken, hand_over

    if not SEALED:
        return SharedMemory(False, "this system has no memory whose size can be sealed (memfd_create)")
    if offer is None:
        return SharedMemory(False, NO_OFFER)
    try:
        hand_over(offer, _SIZE, _WAIT)
    except ConnectionRefusedError:
        return SharedMemory(False, NOBODY)
    except (ConnectionResetError, BrokenPipeError):
        return SharedMemory(False, HUNG_UP)
    except Broken as error:
        return SharedMemory(False, f"it was not taken: {one_line(str(error))[:_LONGEST]}")
    except OSError as error:
        return SharedMemory(False, f"it could not be handed over: {error.strerror or error}")
    return SharedMemory(True)


def look_at_memory(found: SharedMemory | None) -> Finding | None:
    """None where there is nothing to be said of it: client and server are on two machines, or no session was opened."""
    if found is None:
        return None
    if found.used:
        return Finding("shared memory", "fine", "taken: observations of robots on this machine lie there")
    return Finding(
        "shared memory", "note", f"not used: {found.why_not}", "one user and one network for both, on Linux",
        "here an observation of two 224x224 images goes through the socket, which took both ends 539 µs of "
        "processor in place of 384 through memory",
    )  # fmt: skip
