"""The frames of a video file, forwards."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, RecordingFailed, told
from offboard_client.wire import Array

#: Pixels along a side, and in all, of a video that is decoded.
_SIDE, _PIXELS = 8192, 16 * 2**20


class Film:
    """A video, of which each frame is asked for later than the one before. All raise RecordingFailed.

    ``size``: height and width that it has to have. ``since``: seconds of the file before which nothing is asked for.
    """

    def __init__(self, path: Path, what: str, size: tuple[int, int] | None = None, since: float = 0.0) -> None:
        try:
            av: Any = importlib.import_module("av")
        except ImportError as error:
            said = f"videos are read by PyAV, which is not here ({told(error)})"
            raise ConfigurationError(f"{said}: pip install 'offboard-core[convert]'") from error
        self._what, self._path = what, path
        if not path.is_file():
            raise RecordingFailed(f"{what} has no video: {path} is missing")
        self._container: Any = None
        try:
            # What a file names beside itself is not opened.
            self._container = av.open(str(path), format="mp4", options={"protocol_whitelist": "file"})
            stream = self._container.streams.video[0]
            high, wide = stream.codec_context.height, stream.codec_context.width
            if max(high, wide) > _SIDE or high * wide > _PIXELS:
                raise RecordingFailed(f"{what} has {high} x {wide} pixels, which is more than any camera has")
            if size is not None and (high, wide) != size:
                raise RecordingFailed(
                    f"{what} has {high} x {wide} pixels in {path.name}, and its data set says {size[0]} x {size[1]}"
                )
            if since > 0:
                self._container.seek(int(since / stream.time_base), stream=stream)
            self._frames: Iterator[Any] = iter(self._container.decode(stream))
        except RecordingFailed:
            self.close()
            raise
        except (OSError, ValueError, IndexError, TypeError, ZeroDivisionError) as error:
            self.close()
            raise RecordingFailed(f"{what}: {path.name} is no video, or damaged: {told(error)}") from error
        self._count, self._shown, self._next = -1, None, None
        self._size = (high, wide)

    def nth(self, index: int) -> Any:
        """FFmpeg's frame of this number, from 0 on."""
        while self._count < index:
            if (frame := self._read()) is None:
                raise RecordingFailed(
                    f"{self._what} ends too early: {self._path.name} has {self._count + 1} frames, and more are listed"
                )
            self._count, self._shown = self._count + 1, frame
        return self._shown

    def at(self, seconds: float, within: float) -> Any:
        """FFmpeg's frame whose time is nearest, and no more than ``within`` seconds off."""
        while self._next is None or self._next.time <= seconds + within:
            if self._next is not None:
                self._shown = self._next
            self._next = self._read()
            if self._next is None:
                break
        if self._shown is None or abs(self._shown.time - seconds) > within:
            raise RecordingFailed(f"{self._what} has no frame at {seconds:.3f} s of {self._path.name}")
        return self._shown

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()

    def _read(self) -> Any:
        try:
            frame = next(self._frames, None)
        except (OSError, ValueError, EOFError, IndexError) as error:  # FFmpeg's errors are among them
            raise RecordingFailed(f"{self._what}: {self._path.name} is damaged: {told(error)}") from error
        if frame is not None and ((frame.height, frame.width) != self._size or frame.time is None):
            raise RecordingFailed(f"{self._what}: {self._path.name} is damaged: a frame of another size, or of no time")
        return frame


def pixels(frame: Any) -> Array:
    """(H, W, 3) uint8 RGB of FFmpeg's frame."""
    return frame.to_ndarray(format="rgb24")
