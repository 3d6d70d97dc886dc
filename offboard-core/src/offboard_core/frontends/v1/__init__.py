"""Protocol v1, with its two dialects."""

from __future__ import annotations

from .act import ActConnection, is_act
from .frontend import V1
from .serializer import V1Serializer, encode

__all__ = [
    "V1",
    "ActConnection",
    "V1Serializer",
    "encode",
    "is_act",
]
