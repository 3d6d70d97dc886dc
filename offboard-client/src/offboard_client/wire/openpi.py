"""What a server of openpi's says: maps with its own form of arrays, and a traceback as text before it closes."""

from __future__ import annotations

from typing import Any, cast

from ..errors import BadMessage, PolicyFailed
from .forms import read_forms
from .limits import DEFAULT_LIMITS, WireLimits
from .packing import Buffer, decode

_LONGEST = 500


def read_openpi(frame: Buffer | str, limits: WireLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """The metadata, or a reply, under openpi's own names.

    Raises PolicyFailed with the last line of a traceback, and BadMessage for what is no map or cannot be read.
    """
    if isinstance(frame, str):
        raise PolicyFailed(f"openpi failed: {_last_line(frame)}")
    value = read_forms(decode(frame, limits))
    if not isinstance(value, dict):
        raise BadMessage(f"it answered a {type(value).__name__}, expected a map")
    return cast("dict[str, Any]", value)


def _last_line(traceback: str) -> str:
    """What a Python traceback comes down to."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else "it did not say why"
