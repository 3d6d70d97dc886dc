"""Somebody at the page of a run, over HTTP, and an arm in real time for them to drive."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from robot_fakes import POSE, FakeRobot
from waits import PATIENCE, until

NASTY = "<img src=x onerror=\"document.title='pwned'\"> & <b>bold</b>"


class Arm(FakeRobot):
    """In real time; ``stopped``: by whom, while something was played."""

    realtime = True

    def __init__(self) -> None:
        super().__init__()
        self.halted = threading.Event()
        self.held: list[float] = []

    def observe(self) -> dict[str, Any]:
        self.halted.clear()
        return {**super().observe(), "image.wrist": np.full((48, 64, 3), len(self.calls) % 256, np.uint8)}

    def state(self) -> dict[str, Any]:
        return {"robot_state.ee_pose": POSE.copy()}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        if not self.halted.is_set():
            super().apply(action, seconds)
            self.halted.wait(seconds)

    def stop(self) -> None:
        super().stop()
        self.held.append(time.monotonic())
        self.halted.set()


def still(observation: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 3


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Operator:
    """Somebody at the page of a run, on a thread."""

    def __init__(self, port: int, does: Callable[[Operator], None]) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=[does], daemon=True)
        self._thread.start()

    def now(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + "api/now?since=0", timeout=PATIENCE) as answer:
                body = answer.read()
        except urllib.error.URLError:
            return {"phase": None, "may": []}
        self.hear(body)
        (size,) = struct.unpack("<I", body[4:8])
        return json.loads(body[8 : 8 + size])

    def hear(self, body: bytes) -> None:
        """What the page was sent."""

    def post(self, path: str, **said: Any) -> Any:
        state = self.now()
        body = {name: state[name] for name in ("run", "turn", "holds", "number")} | said
        asked = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json", "origin": self.url[:-1]}
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            body = answer.read()
        self.hear(body)
        return json.loads(body)

    def may(self, what: str) -> None:
        until(lambda: what in self.now()["may"], f"may {what}")

    def done(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self.failed is not None:
            raise self.failed

    def _work(self, does: Callable[[Operator], None]) -> None:
        try:
            does(self)
        except BaseException as error:
            self.failed = error
            raise
