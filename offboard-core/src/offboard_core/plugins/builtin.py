"""What core itself offers, registered like any other plugin."""

from __future__ import annotations

from collections.abc import Iterator

from .entries import CodecEntry, ObserverEntry
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


@hookimpl
def offboard_observers() -> Iterator[ObserverEntry]:
    """What ``offboard serve --timings`` and ``--recording-dir`` write."""
    yield ObserverEntry(
        name="timings",
        summary="A line for each step in a CSV file, with where its time went; --timings FILE is short for it.",
        factory="offboard_core.cli:ServeTimings",
        options="offboard_core.cli:TimingsOptions",
    )
    yield ObserverEntry(
        name="recording",
        summary="An MCAP file for each session, with both sides of the codec; --recording-dir DIR is short for it.",
        factory="offboard_core.recording:SessionRecorder",
        options="offboard_core.recording:RecordingOptions",
    )
