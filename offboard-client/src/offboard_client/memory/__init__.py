"""Memory that two processes of one machine share: a server and its worker, a robot and its server.

Who writes owns it, and hands it over as a descriptor; who reads believes nothing that is said about it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .references import MemoryOffer, on_one_machine, read_offer, reference, referred

if TYPE_CHECKING:
    from .handing import ANSWER_BYTES, KEY_BYTES, TAKEN, Shared, hand_over, same_user
    from .mapped import ALIGNED, LARGEST, SEALED, Array, Broken, Incoming, Outgoing

__all__ = [
    "ALIGNED",
    "ANSWER_BYTES",
    "KEY_BYTES",
    "LARGEST",
    "SEALED",
    "TAKEN",
    "Array",
    "Broken",
    "Incoming",
    "MemoryOffer",
    "Outgoing",
    "Shared",
    "hand_over",
    "on_one_machine",
    "read_offer",
    "reference",
    "referred",
    "same_user",
]

#: Imported when first asked for: not every system has such memory.
_LATER = {
    "ANSWER_BYTES": "handing",
    "KEY_BYTES": "handing",
    "TAKEN": "handing",
    "Shared": "handing",
    "hand_over": "handing",
    "same_user": "handing",
    "ALIGNED": "mapped",
    "LARGEST": "mapped",
    "SEALED": "mapped",
    "Array": "mapped",
    "Broken": "mapped",
    "Incoming": "mapped",
    "Outgoing": "mapped",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
