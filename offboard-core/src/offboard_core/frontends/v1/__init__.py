"""Protocol v1, with its two dialects."""

from __future__ import annotations

from .act import ActConnection, is_act
from .frontend import V1
from .serializer import encode

__all__ = [
    "V1",
    "ActConnection",
    "encode",
    "is_act",
]
