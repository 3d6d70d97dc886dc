"""Where in a recording what stands, and how values become its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from ..wire import CONTEXT, Array
from .file import RecordingFile
from .pictures import VideoEncoder, encode_png
from .schemas import image, own, pose_in_frame, video

#: Larger arrays, such as depth images, are no curves to plot: they are in the answers' observations only.
_PLOTTED = 1024
#: Where the arm's poses are, (7,): x y z in m, unit quaternion w x y z, in its base frame (the protocol's O-3, A-2).
_POSES = ("ee_pose", "target_pose")
_FRAME = "base"
#: What is said in the robot's own terms. What a codec makes for a model may have the same names, and other units.
_OF_ROBOT = ("observation", "action")


def topic_of(kind: str, name: str) -> str:
    """``observation``, ``robot_state.q`` → ``/observation/robot_state/q``: names as paths, which viewers fold."""
    return f"/{kind}/{name.replace('.', '/')}"


def camera_of(name: str) -> str:
    """``image.wrist`` → ``wrist``; another image's name as it is."""
    return name.removeprefix("image.")


def is_picture(value: Any) -> bool:
    """Whether it is an image: (H, W, 3) uint8."""
    if not isinstance(value, np.ndarray):
        return False
    array = cast("Array", value)
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0


class Topics:
    """Writes values under their names into one file. Not thread-safe."""

    def __init__(self, file: RecordingFile) -> None:
        self._file = file
        self._cameras: dict[str, VideoEncoder] = {}
        self._shown: dict[str, Any] = {}
        self._texts: dict[str, str] = {}

    def values(self, kind: str, name: str, value: Any, at: int) -> None:
        """A number or a vector, an instruction as it changes; nothing for what is neither."""
        topic = topic_of(kind, name)
        if isinstance(value, str):
            if self._texts.get(topic) != value:
                self._texts[topic] = value
                self._file.write(topic, own("Text"), at, {"name": name}, text=value)
            return
        found = _numbers(value)
        if found is None:
            return
        said = {"name": name, "dtype": found.dtype.str, "shape": ",".join(map(str, found.shape))}
        self._file.write(topic, own("Values"), at, said, values=found.ravel().tolist())
        if kind in _OF_ROBOT and name.endswith(_POSES) and found.shape == (7,):
            self._pose(topic_of("pose", name), found.tolist(), name, at)

    def video(self, name: str, picture: Array, at: int) -> bool:
        """A camera's frame; False for the one that was written last, which a camera has as long as it has no other."""
        if self._shown.get(name) is picture:
            return False
        self._shown[name] = picture
        encoder = self._cameras.setdefault(name, VideoEncoder())
        camera = camera_of(name)
        height, width = picture.shape[:2]
        said = {"name": name, "height": str(height), "width": str(width)}
        data = encoder.encode(picture, at)
        self._file.write(topic_of("video", camera), video(), at, said, frame_id=camera, data=data, format="h264")
        return True

    def still(self, name: str, picture: Array, at: int, kind: str = "sent") -> None:
        """A camera's frame, without loss."""
        camera = camera_of(name)
        data = encode_png(picture)
        self._file.write(topic_of(kind, camera), image(), at, {"name": name}, frame_id=camera, data=data, format="png")

    def chunk(
        self, rows: Sequence[Mapping[str, Any]], period: float, at: int, kind: str = "chunk", stamp: int = -1
    ) -> None:
        """What an answer wants, by the names of its actions. ``period``: seconds from row to row that have no time.

        ``stamp``: what the rows' times are counted from, if not from ``at``.
        """
        columns: dict[str, tuple[list[float], list[Array]]] = {}
        for number, row in enumerate(rows):
            for name, value in row["action"].items():
                if (found := _numbers(value)) is not None:
                    offsets, vectors = columns.setdefault(name, ([], []))
                    offsets.append(float(row.get("timestamp", number * period)))
                    vectors.append(found.ravel())
        for name, (offsets, vectors) in columns.items():
            if len({len(vector) for vector in vectors}) != 1:
                continue
            self._file.write(
                topic_of(kind, name), own("Chunk"), at, {"name": name}, stamp, offsets=offsets, width=len(vectors[0]),
                values=np.concatenate(vectors).tolist(),
            )  # fmt: skip

    def _pose(self, topic: str, pose: Sequence[float], name: str, at: int) -> None:
        x, y, z, qw, qx, qy, qz = pose
        placed = {"position": {"x": x, "y": y, "z": z}, "orientation": {"w": qw, "x": qx, "y": qy, "z": qz}}
        self._file.write(topic, pose_in_frame(), at, {"name": name}, frame_id=_FRAME, pose=placed)


def plain_observation(observation: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an observation beside its pictures, for the wire's form.

    Frames of before (``history``) are observations of their own, at their times.
    """
    return {name: value for name, value in observation.items() if not is_picture(value) and name != CONTEXT["history"]}


def plain_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as maps of their own."""
    return [{**row, "action": dict(row["action"])} for row in rows]


def _numbers(value: Any) -> Array | None:
    """As an array; None for what has no few numbers."""
    if isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        found: Array = np.asarray(value)
        if found.dtype.kind in "biuf" and 0 < found.size <= _PLOTTED:
            return found
    return None
