"""The client's side of a session with a stock openpi server, without any I/O.

Its server sends the policy's metadata first, then answers each observation, on its event loop: meanwhile it answers no
ping, so none is waited for. After an error it sends the traceback as text and closes.

Nothing numbers its answers. A ping goes out just before each observation: a server that takes in one after the other
answers it before it begins to infer, so that what comes before the pong was said of an earlier observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from .. import wire
from ..errors import BadParameter, ConnectionLost
from ..wire import Ready, Reply
from .frames import Turns
from .openpi_layout import Layout
from .session_protocol import SessionProtocol
from .settings import Settings


class OpenPIProtocol(SessionProtocol):
    """One session on one socket; see :class:`SessionProtocol`."""

    numbers = False

    def __init__(self, settings: Settings, url: str, layout: Layout) -> None:
        super().__init__(settings, url)
        self._layout = layout
        #: Whether the server's pongs come before its answers; None before the first answer, which no other can precede.
        self._in_order: bool | None = None

    def ask_control(self, kind: str, params: Mapping[str, Any] | None = None) -> Turns:
        """Raises BadParameter: there are none."""
        raise BadParameter(f"{kind} cannot be asked: openpi's protocol knows observations and nothing else")

    def _read_handshake(self) -> Ready:
        return Ready(self._layout.meta(self._decode()))

    def _message(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._layout.encode(observation)

    def _send(self, value: Any) -> Turns:
        out = super()._send(value)
        self._seq += 1
        self.websocket.ping(b"%d" % self._seq)
        return out

    def _read_reply(self, frame: Any) -> Reply:
        self._check(frame, self._check_order)
        self.state = "ready"
        actions = self._layout.decode(frame.get("actions"))
        steps = len(next(iter(actions.values())))
        times = np.arange(steps) / self._layout.fps
        return Reply({"columns": {"action": actions, "timestamp": times}}, _timing(frame.get("server_timing")))

    def _check_order(self, frame: Any, is_error: bool) -> None:
        """Raises ConnectionLost where the answer was on its way before the observation can have been read."""
        if self._in_order is None:
            self._in_order = self.websocket.ponged
        elif self._in_order and not self.websocket.ponged:
            raise ConnectionLost(
                f"{self._settings.address} answered once more what it had answered. Nothing of it is used; the next "
                "call opens a new session"
            )

    def _decode(self) -> dict[str, Any]:
        return wire.read_openpi(self.websocket.messages.popleft(), self._settings.limits)


def _timing(said: Any) -> dict[str, float]:
    """How long the server inferred, in ms; nothing if it does not say so."""
    took = cast("Mapping[Any, Any]", said).get("infer_ms") if isinstance(said, dict) else None
    if took is None or not wire.is_duration(took):
        return {}
    return {"infer_ms": float(took), "total_ms": float(took)}
