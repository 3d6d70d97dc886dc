"""Protocol v1, with its two dialects."""

from __future__ import annotations

from .frontend import V1
from .serializer import encode

__all__ = [
    "V1",
    "encode",
]
