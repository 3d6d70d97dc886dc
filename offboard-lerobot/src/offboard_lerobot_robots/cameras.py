"""LeRobot's cameras, which read on threads of their own, looked at by somebody else than the arm."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Where LeRobot's cameras keep their newest picture; RealSense's have one of the depth, too.
_NEWEST = ("latest_frame", "latest_color_frame")


class LiveCameras:
    """What each camera's own thread has read last. ``async_read`` would take it from the arm, which waits for it."""

    def __init__(self, cameras: Mapping[str, Any], shapes: Mapping[str, tuple[int, int, int]]) -> None:
        """Cameras that :func:`are_live`, and the shapes of their pictures."""
        self._shapes = shapes
        self._cameras = {
            name: (camera, next(where for where in _NEWEST if hasattr(camera, where)))
            for name, camera in cameras.items()
        }
        # LeRobot's clock to ours: on Windows they are not the same.
        self._offset = time.monotonic() - time.perf_counter()

    def frames(self) -> dict[str, tuple[NDArray[np.uint8], float]]:
        """See :class:`~offboard_client.robots.Cameras`."""
        found: dict[str, tuple[NDArray[np.uint8], float]] = {}
        for name, (camera, where) in self._cameras.items():
            with camera.frame_lock:
                picture, at = getattr(camera, where), camera.latest_timestamp
            if picture is not None and picture.shape == self._shapes[name] and picture.dtype == np.uint8:
                found[f"image.{name}"] = picture, at + self._offset
        return found


def are_live(cameras: Mapping[str, Any]) -> bool:
    """Whether all of them read on a thread of their own, and say when."""
    return bool(cameras) and all(
        hasattr(camera, "frame_lock")
        and hasattr(camera, "latest_timestamp")
        and any(hasattr(camera, where) for where in _NEWEST)
        for camera in cameras.values()
    )
