"""Which of this package's codecs a checkpoint fits."""

from __future__ import annotations

from offboard_core.types import Checkpoint

from . import arm, droid, libero
from .blocks import STEPS, difference


def fitting(checkpoint: Checkpoint) -> list[str]:
    """Their names, by the names and widths of what the checkpoint reads and answers; the last passes any."""
    found = [
        name
        for name, layout in arm.LAYOUTS.items()
        if difference({**layout.makes, arm.WRIST: None, arm.EXTERIOR: None}, layout.action, checkpoint) is None
    ]
    if difference(droid.MAKES, droid.TAKES, checkpoint, droid.UNPLAYED) is None:
        found.append("droid")
    if difference(libero.MAKES, libero.TAKES, checkpoint, plays=STEPS) is None:
        found.append("libero")
    return [f"gr00t.{name}" for name in (*found, "native")]
