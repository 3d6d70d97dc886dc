"""A vendor's model behind a real socket, and a robot at the level of frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from offboard_client import wire
from websockets.sync.client import ClientConnection, connect

from ..catalog import ModelSource
from ..server import InferenceServer
from ._vendor import Vendor

#: Seconds for any one frame: a bound for a test that has failed, not a measure of speed.
PATIENCE = 120


class Robot:
    """A session at the level of frames."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def receive(self) -> dict[str, Any]:
        """The next frame."""
        frame = self._socket.recv(timeout=PATIENCE)
        return cast("dict[str, Any]", json.loads(frame) if isinstance(frame, str) else wire.decode(frame))

    def opened(self) -> dict[str, Any]:
        """The frame that ended the handshake."""
        while (frame := self.receive())["status"] in ("waiting", "loading"):
            pass
        assert frame["status"] == "ready", frame
        return frame

    def ask(self, frame: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """Send a frame and return the one that answers it."""
        self._socket.send(frame if isinstance(frame, bytes) else wire.encode(frame))
        return self.receive()


class Served(Vendor):
    """For laws that are seen from the other end of the wire."""

    @pytest.fixture(scope="class")
    @classmethod
    def url(cls, source: ModelSource) -> Iterator[str]:
        """A server with this vendor's model, on a free port."""
        with InferenceServer({cls.plugin: source}, port=0) as server:
            yield f"ws://{server.host}:{server.port}/api/v1/session?dialect=offboard"

    @pytest.fixture
    def robot(self, url: str) -> Iterator[Robot]:
        """A session that is open."""
        with connect(url, compression=None, max_size=None, open_timeout=PATIENCE) as socket:
            robot = Robot(socket)
            robot.opened()
            yield robot

    @pytest.fixture
    def meta(self, url: str) -> dict[str, Any]:
        """What the handshake says."""
        with connect(url, compression=None, max_size=None, open_timeout=PATIENCE) as socket:
            return cast("dict[str, Any]", Robot(socket).opened()["meta"])
