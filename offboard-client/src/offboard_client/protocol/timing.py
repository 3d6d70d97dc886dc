"""Where the time of each step went."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

_KEPT = 4096


class Step(NamedTuple):
    """One observation and its answer, in seconds on this machine, and the server's own stages in ms.

    ``arriving_s``: the part of ``wait_s`` from the answer's first byte to its last.
    """

    encode_s: float
    wait_s: float
    decode_s: float
    server: Mapping[str, float]
    arriving_s: float = 0.0

    @property
    def network_s(self) -> float:
        """What of ``wait_s`` the server did not use itself."""
        return max(0.0, self.wait_s - self.server.get("total_ms", 0.0) / 1e3)

    def stages(self) -> dict[str, float]:
        """In ms: ``total_ms``, ``encode_ms``, ``network_ms``, ``decode_ms``, and ``server.<stage>`` as the server says.

        ``network_ms`` is the time from the encoded observation to its answer, less the server's ``total_ms``.
        Without ``server.prev_encode_ms`` where the server says 0: there was no reply before.
        """
        server = {f"server.{name}": value for name, value in self.server.items()}
        if not server.get("server.prev_encode_ms"):
            server.pop("server.prev_encode_ms", None)
        return {
            "total_ms": (self.encode_s + self.wait_s + self.decode_s) * 1e3,
            "encode_ms": self.encode_s * 1e3,
            "network_ms": self.network_s * 1e3,
            "decode_ms": self.decode_s * 1e3,
            **server,
        }


class Timings:
    """The last 4096 steps of a session, across its reconnects."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=_KEPT)
        #: Steps answered since the session was opened.
        self.count = 0

    def record(self, step: Step) -> None:
        """Keep one step."""
        self._steps.append(step)
        self.count += 1

    @property
    def last(self) -> dict[str, float]:
        """The stages of the last step in ms (:meth:`Step.stages`); {} before the first."""
        return self._steps[-1].stages() if self._steps else {}

    def summary(self) -> dict[str, dict[str, float]]:
        """``p50``, ``p95`` and ``p99`` of every stage in ms, over the steps kept; {} before the first."""
        columns: dict[str, list[float]] = {}
        for step in self._steps:
            for name, value in step.stages().items():
                columns.setdefault(name, []).append(value)
        return {
            name: dict(zip(("p50", "p95", "p99"), np.percentile(values, (50, 95, 99)).tolist(), strict=True))
            for name, values in columns.items()
        }

    def __repr__(self) -> str:
        return f"Timings({self.count} steps, last: { {k: round(v, 3) for k, v in self.last.items()} })"
