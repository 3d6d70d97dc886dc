"""What core itself offers, registered like any other plugin."""

from __future__ import annotations

from collections.abc import Iterator

from .entries import CodecEntry
from .hooks import hookimpl


@hookimpl
def offboard_codecs() -> Iterator[CodecEntry]:
    """The codec that leaves everything as it is."""
    yield CodecEntry(
        name="native",
        summary="Hands the observation to the model, and the model's chunk to the robot, as they are.",
        factory="offboard_core.codecs:make",
        options="offboard_core.codecs:NativeOptions",
    )
