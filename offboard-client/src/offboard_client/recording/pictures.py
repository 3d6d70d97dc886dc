"""Cameras in a recording: every frame as video, and what the policy was sent as it was, without loss.

Both by FFmpeg, which works without the interpreter's lock: the thread that controls the arm does not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ..wire import Array

#: Video's clock, in microseconds: frames come when the camera has them, not in steps.
TIME_BASE = Fraction(1, 1_000_000)
#: So many frames apart at most are two from which a player can start.
_KEY_FRAMES = 30
#: H.264's quality: from 18 to 28 is what people film with; less is better.
_QUALITY = "23"
#: JPEG's quantiser, from 2 to 31, of what is shown to people; less is better.
_JPEG = 4


class VideoEncoder:
    """One camera's frames as H.264, each a packet of its own: none waits for a later one.

    As viewers want it, colours are 4:2:0 and lossy; sides of an odd number of pixels are filled up by one.
    """

    def __init__(self) -> None:
        self._codec: Any = None
        self._last = -1

    def encode(self, image: Array, at: int) -> bytes:
        """``image``: (H, W, 3) uint8 RGB. ``at``: nanoseconds, later than the one before. Annex B, in whole frames."""
        height, width = (side + side % 2 for side in image.shape[:2])
        if self._codec is None or (self._codec.height, self._codec.width) != (height, width):
            self._codec = _h264(height, width)
        if image.shape[:2] != (height, width):
            image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
        frame = _frame(image).reformat(format="yuv420p")
        frame.pts = self._last = max(at // 1000, self._last + 1)
        frame.time_base = TIME_BASE
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


def encode_png(image: Array) -> bytes:
    """``image``, (H, W, 3) uint8 RGB, without loss."""
    codec: Any = av.CodecContext.create("png", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *image.shape[:2], "rgb24", TIME_BASE
    codec.options = {"compression_level": "1", "pred": "sub"}
    codec.thread_count = 1
    return b"".join(bytes(packet) for packet in codec.encode(_frame(image)))


def encode_jpeg(frame: Any, width: int | None = None) -> bytes:
    """A frame of :meth:`VideoDecoder.frames` or :func:`decode_frame`, or (H, W, 3) uint8 RGB, as a JPEG file.

    ``width``: pixels at most.
    """
    if isinstance(frame, np.ndarray):
        frame = _frame(cast("Array", frame))
    wide = min(width or frame.width, frame.width)
    high = max(1, round(frame.height * wide / frame.width))
    frame = frame.reformat(wide, high, "yuvj420p", dst_color_range="JPEG")
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = high, wide, "yuvj420p", TIME_BASE
    codec.thread_count = 1
    codec.qmin = codec.qmax = _JPEG
    frame.pts, frame.time_base = 0, TIME_BASE
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))


def decode_frame(data: bytes) -> Any:
    """A PNG or JPEG file as FFmpeg's frame."""
    found: Any = av.CodecContext.create("png" if data.startswith(b"\x89PNG") else "mjpeg", "r")
    return [*found.decode(av.Packet(data)), *found.decode(None)][0]


def decode_image(data: bytes) -> Array:
    """(H, W, 3) uint8 RGB of a PNG or JPEG file."""
    return decode_frame(data).to_ndarray(format="rgb24")


class VideoDecoder:
    """Frames of one camera again, from a packet on from which a player can start."""

    def __init__(self) -> None:
        self._codec: Any = av.CodecContext.create("h264", "r")
        self._codec.thread_type = "SLICE"  # frames come out as they go in
        self._codec.flags |= 1 << 19  # low delay

    def decode(self, data: bytes) -> Iterator[Array]:
        """(H, W, 3) uint8 RGB."""
        for frame in self.frames(data):
            yield frame.to_ndarray(format="rgb24")

    def frames(self, data: bytes) -> Iterator[Any]:
        """The same as FFmpeg's frames, in the colours of the video."""
        yield from self._codec.decode(av.Packet(data))


def starts(data: bytes) -> bool:
    """Whether a player can start with this packet: it has the stream's parameters, as each of its key frames does."""
    at = data.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(data):
        if data[at + 3] & 31 == 7:
            return True
        if data[at + 3] & 31 in (1, 5):  # what is shown: parameters come before
            return False
        at = data.find(b"\0\0\1", at + 3)
    return False


def _frame(image: Array) -> Any:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")


def _h264(height: int, width: int) -> Any:
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = height, width, "yuv420p", TIME_BASE
    codec.framerate = Fraction(30)  # for what it plans; each frame has its own time
    codec.thread_count = 1
    codec.options = {
        "preset": "ultrafast", "tune": "zerolatency", "crf": _QUALITY, "g": str(_KEY_FRAMES), "bf": "0",
        "x264-params": "repeat-headers=1:scenecut=0",
    }  # fmt: skip
    return codec
