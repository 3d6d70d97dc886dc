"""A policy and the network to it: ``play_server.py SECONDS RATE DELAY SPREAD`` prints ``{"port": N}``, and serves on.

The policy takes ``SECONDS`` for an answer of one second at ``RATE`` Hz: joint 1 goes on from its set-point, 0.2 rad/s.
Each answer is ``DELAY`` ± ``SPREAD`` s late, one half of that on the way there and one on the way back.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from offboard_core import Chunk, InferContext, InferenceServer, Policy, Session

SPEED = 0.2


class RampSession(Session):
    """Goes on from where the arm was sent."""

    def __init__(self, policy: Ramp) -> None:
        self._policy = policy

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        """A second of it. What is not played yet need not be told: it is the same."""
        time.sleep(self._policy.seconds)
        ahead = np.arange(self._policy.rate) / self._policy.rate
        joints = np.tile(np.asarray(inputs["sim.set_point"], np.float64), (len(ahead), 1))
        joints[:, 0] += SPEED * (ahead + 1 / self._policy.rate)
        return Chunk({"target_joints": joints}, ahead)


class Ramp(Policy[RampSession]):
    """``seconds``: of one answer. ``rate``: Hz."""

    context = frozenset({"prefix", "delay_steps"})

    def __init__(self, seconds: float, rate: int) -> None:
        self.seconds, self.rate = seconds, rate

    def new_session(self, params: Any) -> RampSession:
        """One robot."""
        return RampSession(self)


class Network:
    """Passes bytes on, in their order, each piece late."""

    def __init__(self, port: int, delay: float, spread: float) -> None:
        self._to, self._delay, self._spread = port, delay, spread
        self._random = random.Random(1)
        self._copies: set[asyncio.Task[None]] = set()

    async def serve(self) -> int:
        """Listen; the port."""
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for ends in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._copy(*ends))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop, due = asyncio.get_running_loop(), 0.0

        def write(data: bytes) -> None:
            if not sink.is_closing():
                sink.write(data)

        while data := await source.read(1 << 20):
            late = self._delay + self._random.uniform(-self._spread, self._spread)
            due = max(due, loop.time() + late / 2)
            loop.call_at(due, write, data)
        loop.call_at(max(due, loop.time()), sink.close)


def _leave_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


async def _main(port: int, delay: float, spread: float) -> None:
    if delay:
        port = await Network(port, delay, spread).serve()
    print(json.dumps({"port": port}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    policy = Ramp(float(sys.argv[1]), int(sys.argv[2]))
    with InferenceServer({"ramp": lambda: policy}, port=0, fps=policy.rate) as server:
        asyncio.run(_main(server.port, float(sys.argv[3]), float(sys.argv[4])))
