"""Each session of a server as an MCAP file: both sides of its codec. An observer; it needs the extra ``record``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import RecordingOptions

if TYPE_CHECKING:
    from .recorder import SessionRecorder

__all__ = ["RecordingOptions", "SessionRecorder"]


def __getattr__(name: str) -> Any:
    if name == "SessionRecorder":  # with video's libraries, which are large, and missing without the extra
        from .recorder import SessionRecorder

        return SessionRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
