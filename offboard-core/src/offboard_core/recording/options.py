"""What is recorded of a server's sessions, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """Options of :class:`SessionRecorder`."""

    dir: Path
    """The folder that each session gets a file in; it is made."""
    sent: bool = True
    """Whether the images that the robot sent are recorded, without loss (PNG)."""
    seen: bool = True
    """Whether the images that the codec made of them for the model are."""
