"""What is said on a session about memory beside it (section 15 of the protocol). Known to every system."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

#: In msgpack no value begins so: a message that does is none, and says where one lies.
_NEVER_USED = 0xC1
_REFERENCE = struct.Struct("<BQ")
_SIZE = _REFERENCE.size
_DOOR, _KEY = re.compile(r"offboard-[0-9a-f]{32}"), re.compile(r"[0-9a-f]{32}")


class MemoryOffer(NamedTuple):
    """Of a server: where it takes memory, and what says for which session.

    ``door``: the name of an abstract Unix socket, so that nobody can be led to another's.
    """

    door: str
    key: str

    def frame(self) -> dict[str, str]:
        """As ``ready`` has it."""
        return self._asdict()


def read_offer(found: Any) -> MemoryOffer | None:
    """What a server's ``ready`` says under ``memory``; None for anything else, which is no offer that we know."""
    if not isinstance(found, Mapping):
        return None
    said = cast("Mapping[Any, Any]", found)
    door, key = said.get("door"), said.get("key")
    if not isinstance(door, str) or not isinstance(key, str) or not _DOOR.fullmatch(door) or not _KEY.fullmatch(key):
        return None
    return MemoryOffer(door, key)


def reference(size: int) -> bytes:
    """The message that says: the first ``size`` bytes of the memory are what I say."""
    return _REFERENCE.pack(_NEVER_USED, size)


def referred(message: bytes | memoryview) -> int | None:
    """How many bytes a message refers to; None for one that says all that it has to say itself."""
    if len(message) != _SIZE or message[0] != _NEVER_USED:
        return None
    size: int = _REFERENCE.unpack(message)[1]
    return size


def on_one_machine(one: str, other: str) -> bool:
    """Whether the two ends of a connection, by their addresses, are on one machine, or a tunnel makes it seem so."""
    if one == other:
        return True
    try:
        return ipaddress.ip_address(one).is_loopback and ipaddress.ip_address(other).is_loopback
    except ValueError:
        return False


__all__ = ["MemoryOffer", "on_one_machine", "read_offer", "reference", "referred"]
