"""One camera of one episode as an MP4 file, encoded frame by frame."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np

#: H.264, for every reader of such data sets has a decoder of it; AV1, which LeRobot writes, not all have.
CODEC, PIXELS = "h264", "yuv420p"
#: A key frame every second frame: training asks for single ones. None is made of a later one.
_OPTIONS = {"crf": "18", "preset": "fast", "g": "2", "bf": "0"}


class Film:
    """Frames of one size, ``fps`` a second, the first at 0. Errors of the disk are OSError."""

    def __init__(self, path: Path, fps: int, height: int, width: int) -> None:
        self._path = path
        #: How many pixels of all frames have which value, by channel: all that its statistics need.
        self._seen = np.zeros((3, 256), np.int64)
        self._count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container: Any = av.open(str(path), "w", format="mp4")
        try:
            self._stream = self._container.add_stream("libx264", rate=fps, options=_OPTIONS)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        except BaseException:
            self.remove()
            raise

    def add(self, picture: np.ndarray) -> None:
        """One more, (height, width, 3) uint8 RGB."""
        for channel in range(3):
            self._seen[channel] += np.bincount(picture[..., channel].ravel(), minlength=256)
        self._count += 1
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """It is all there."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def remove(self) -> None:
        """It is not there. Never raises."""
        with suppress(Exception):
            self._container.close()
        with suppress(OSError):
            self._path.unlink()

    def statistics(self) -> dict[str, list[Any]]:
        """Of all pixels of all frames, as shares of 255: (3, 1, 1) each, and how many frames they are of."""
        values, seen = np.arange(256) / 255, self._seen
        pixels = seen.sum(1)
        mean = seen @ values / pixels
        found = {
            "min": [values[np.flatnonzero(each)[0]] for each in seen],
            "max": [values[np.flatnonzero(each)[-1]] for each in seen],
            "mean": mean,
            "std": np.sqrt(seen @ values**2 / pixels - mean**2),
        }
        return {name: np.reshape(each, (3, 1, 1)).tolist() for name, each in found.items()} | {"count": [self._count]}
