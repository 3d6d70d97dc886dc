"""A range of an episode as a film of its own: the cameras side by side, MP4, as any player shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import BadParameter, NotFound, RecordingFailed, told
from .film import Film

#: Frames a second, whatever the cameras had: what stands still costs nothing.
_RATE = 30
#: Seconds at most: a longer one is the recording itself.
LONGEST = 600.0
#: No side of the film is longer, in pixels.
_SIDE = 4096


def write_clip(
    film: Film, cameras: Sequence[str], start: float, end: float, path: Path, stopped: Callable[[], bool]
) -> None:
    """From ``start`` to ``end``, in seconds of the episode, to ``path``. ``stopped``: whether nobody wants it any more.

    Raises BadParameter, NotFound, RecordingFailed.
    """
    if not 0 <= start < end or end - start > LONGEST:
        raise BadParameter(
            f"a clip is from one time to a later one, of at most {LONGEST:g} s; not {start:g} to {end:g}"
        )
    wanted = list(cameras) or list(film.topics)
    if not wanted:
        raise NotFound("the episode has no camera, and so no clip")
    shown = [_At(film.frames(camera, start, end, stopped)) for camera in wanted]
    try:
        container: Any = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        with container as out:
            stream: Any = None
            for number in range(max(1, round((end - start) * _RATE))):
                if stopped():
                    return
                picture = _beside([each.picture(start + number / _RATE) for each in shown])
                if stream is None:
                    stream = out.add_stream("libx264", rate=_RATE)
                    stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
                    stream.options = {"preset": "veryfast", "crf": "20"}
                frame = av.VideoFrame.from_ndarray(_fit(picture, stream.height, stream.width), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, _RATE)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    except (OSError, EOFError, ValueError) as error:  # FFmpeg's errors are among them
        raise RecordingFailed(f"the clip cannot be made: {getattr(error, 'strerror', None) or told(error)}") from error


class _At:
    """What one camera showed at a time; times are asked for in order."""

    def __init__(self, frames: Iterator[tuple[float, Any]]) -> None:
        self._frames = frames
        self._next = next(frames, None)
        self._picture: Any = None

    def picture(self, seconds: float) -> Any:
        """(H, W, 3) uint8; None while there is none."""
        found: Any = None
        while self._next is not None and (self._next[0] <= seconds or (self._picture is None and found is None)):
            found, self._next = self._next[1], next(self._frames, None)
        if found is not None:
            self._picture = found.to_ndarray(format="rgb24")
        return self._picture


def _beside(pictures: Sequence[Any]) -> Any:
    """Side by side, as high as the highest; sides of an even number of pixels, as H.264 wants them."""
    there = [each for each in pictures if each is not None]
    if not there:
        raise NotFound("no camera has a picture of that time")
    high = max(each.shape[0] for each in there)
    wide = sum(each.shape[1] for each in there)
    if max(high, wide) > _SIDE:
        raise BadParameter(f"the cameras side by side are {wide} by {high} pixels: choose one of them")
    rows = [np.pad(each, ((0, high - each.shape[0]), (0, 0), (0, 0))) for each in there]
    return np.pad(np.concatenate(rows, axis=1), ((0, high % 2), (0, wide % 2), (0, 0)))


def _fit(picture: Any, height: int, width: int) -> Any:
    """Cut or filled up: a camera may begin later than another."""
    picture = picture[:height, :width]
    return np.ascontiguousarray(
        np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)))
    )
