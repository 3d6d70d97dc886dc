"""A policy and the network to it: ``play_server.py SECONDS RATE DELAY SPREAD`` prints ``{"port": N}``, and serves on.

The policy takes ``SECONDS`` for an answer of one second at ``RATE`` Hz: joint 1 goes on from its set-point, 0.2 rad/s.
Each answer is ``DELAY`` ± ``SPREAD`` s late, one half of that on the way there and one on the way back.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from links import Link, serve, uneven
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


if __name__ == "__main__":
    policy = Ramp(float(sys.argv[1]), int(sys.argv[2]))
    delay, spread = float(sys.argv[3]), float(sys.argv[4])
    with InferenceServer({"ramp": lambda: policy}, port=0, fps=policy.rate) as server:
        serve(Link(server.port, uneven(delay / 2, spread / 2), piece=2**20) if delay else server.port)
