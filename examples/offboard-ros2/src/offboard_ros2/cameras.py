"""The newest picture of each camera's topic, looked at by somebody else than the arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import messages
from .contract import Topic

Picture = NDArray[np.uint8]


class LiveCameras:
    """Pictures come on the node's own thread, whoever looks; each is made RGB once, by who looks first."""

    def __init__(self, topics: Mapping[str, Topic], newest: Callable[[str], tuple[Any, float] | None]) -> None:
        """``topics``: of the cameras, by their names. ``newest``: of a topic its last message, and when it came."""
        self._topics, self._newest = topics, newest
        self._read: dict[str, tuple[Picture, float]] = {}

    def frames(self) -> dict[str, tuple[Picture, float]]:
        """See :class:`~offboard_client.robots.Cameras`. Raises RobotFailed for a message that is no such picture."""
        found: dict[str, tuple[Picture, float]] = {}
        for name, topic in self._topics.items():
            if (newest := self._newest(topic.topic)) is None:
                continue
            message, at = newest
            read = self._read.get(name)
            if read is None or read[1] != at:
                self._read[name] = read = messages.read(messages.picture, message, topic), at
            found[name] = read
        return found
