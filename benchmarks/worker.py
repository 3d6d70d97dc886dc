"""One client process: ``worker.py PEER PORT`` answers each JSON line on stdin with one on stdout.

- ``{"do": "check", "workload": "A"}`` sends every observation of the ring once and compares the answers;
- ``{"do": "block", "workload": "A", "seconds": 0.3, "start": null}`` calls in a closed loop for that long, from the
  moment ``start`` (seconds since the epoch) on, and answers every call's duration; with ``"every": 0.1`` a call begins
  that often (s) instead, however long the last one took, unless it takes longer;
- ``{"do": "steps", "workload": "A", "count": 250}`` makes so many calls and times none.

An answer is ``{"error": text}`` when something went wrong.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from typing import Any

import numpy as np
from peers import Client, load
from workloads import CHUNK, observations

#: Untimed calls before each block, and the fewest timed ones in it.
WARM_UP = FEWEST = 5


class Worker:
    """A client and the observations it cycles through."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rings: dict[str, list[Any]] = {}

    def check(self, workload: str) -> dict[str, Any]:
        """Prepare the ring and prove that each of its observations is answered by the chunk."""
        self._rings[workload] = [self._client.prepare(observation) for observation in observations(workload)]
        for prepared in self._rings[workload]:
            np.testing.assert_array_equal(self._client.chunk(self._client.infer(prepared)), CHUNK)
        return {"checked": len(self._rings[workload])}

    def block(self, workload: str, seconds: float, start: float | None, every: float = 0.0) -> dict[str, Any]:
        """Durations of consecutive calls in microseconds; this process's processor time and the block's in seconds."""
        ring, infer, now = self._rings[workload], self._client.infer, time.perf_counter_ns
        for index in range(WARM_UP):
            infer(ring[index % len(ring)])
        if start is not None:
            time.sleep(max(0.0, start - time.time()))
        durations: list[float] = []
        cpu, began = time.process_time_ns(), now()
        end = began + int(seconds * 1e9)
        before = began
        while before < end or len(durations) < FEWEST:
            if every and (early := began + len(durations) * every * 1e9 - before) > 0:
                time.sleep(early / 1e9)
                before = now()
            infer(ring[len(durations) % len(ring)])
            after = now()
            durations.append((after - before) / 1e3)
            before = now()
        return {
            "durations_us": durations,
            "warm_up": WARM_UP,
            "cpu_s": (time.process_time_ns() - cpu) / 1e9,
            "wall_s": (now() - began) / 1e9,
        }

    def steps(self, workload: str, count: int) -> dict[str, Any]:
        """So many calls, untimed."""
        ring = self._rings[workload]
        for index in range(count):
            self._client.infer(ring[index % len(ring)])
        return {"steps": count}


def main() -> None:
    """Connect, then obey."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not reach the answers

    def answer(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        client = load(sys.argv[1]).Client(int(sys.argv[2]))
        worker = Worker(client)
        answer({"connected": True})
        for line in sys.stdin:
            command = json.loads(line)
            answer(getattr(worker, command.pop("do"))(**command))
        client.close()
    except Exception as error:
        traceback.print_exc()
        answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
