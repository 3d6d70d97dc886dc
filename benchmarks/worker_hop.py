"""What the hop to a worker costs: a policy in a worker, over the same policy in this process.

    uv run benchmarks/worker_hop.py [--calls N] [--rounds N]

Two 224 × 224 × 3 images and a state, 301 KB, answered at once with a (50, 8) chunk. First the call of the policy alone,
then the whole exchange with a client over a socket; the two interleaved, so that whatever disturbs the machine disturbs
both. Of each round the median (p50) and the tenth percentile (p10), which other work on the machine reaches less; told
are the medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

import worker_hop
from offboard_client import InferenceClient
from offboard_core import Checkpoint, CheckpointLoader, Chunk, InferenceServer, LoaderEntry, Policy, Session, hookimpl
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE, NO_CONTEXT, Item
from offboard_core.workers import Isolation

OBSERVATION = {
    "state": np.zeros(8, np.float32),
    "front": np.full((224, 224, 3), 7, np.uint8),
    "wrist": np.full((224, 224, 3), 9, np.uint8),
}


class Instant(Session):
    """Looks at every image once, as any model does, and answers."""

    chunk = np.zeros((50, 8), np.float32)

    def infer(self, inputs, context):
        assert inputs["front"][0, 0, 0] == 7
        return Chunk(self.chunk)


class InstantPolicy(Policy):
    def new_session(self, params):
        return Instant()


class InstantLoader(CheckpointLoader):
    def __init__(self, options):
        """It has none."""

    def load(self, checkpoint, report, place):
        return InstantPolicy()


@hookimpl
def offboard_checkpoint_loaders():
    yield LoaderEntry(name="instant", summary="Answers at once.", factory="worker_hop:InstantLoader")


def source(isolation: Isolation | None) -> Any:
    return from_flags(Plugins.of(instant=worker_hop), vendor="instant", codec="native", fps=20.0, isolation=isolation)


def interleaved(calls: dict[str, Callable[[], Any]], count: int, rounds: int) -> dict[str, list[list[float]]]:
    """Of each round the p10 and the p50, in ms."""
    found: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        took: dict[str, list[float]] = {name: [] for name in calls}
        for i in range(count + 20):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if i >= 20:
                    took[name].append((time.perf_counter() - start) * 1e3)
        for name, times in took.items():
            found[name].append(np.percentile(times, [10, 50]).tolist())
    return found


def policy_calls(stack: ExitStack) -> dict[str, Callable[[], Any]]:
    calls: dict[str, Callable[[], Any]] = {}
    for name, isolation in {"in process": None, "in a worker": Isolation()}.items():
        loader = source(isolation).loader
        policy = loader.load(Checkpoint(id="instant"), lambda _: None, ALONE)
        stack.callback(policy.close)
        session = policy.new_session(policy.params())
        calls[name] = lambda p=policy, s=session: p.infer_many([Item(s, OBSERVATION, NO_CONTEXT)])
    return calls


def exchanges(stack: ExitStack) -> dict[str, Callable[[], Any]]:
    calls: dict[str, Callable[[], Any]] = {}
    for name, isolation in {"in process": None, "in a worker": Isolation()}.items():
        server = stack.enter_context(InferenceServer({"": source(isolation)}, port=0))
        client = stack.enter_context(InferenceClient(server.host, server.port))
        session = stack.enter_context(client.new_session())
        calls[name] = lambda s=session: s.infer(OBSERVATION)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    told: dict[str, Any] = {}
    for what, make in {"the policy's call": policy_calls, "the whole exchange": exchanges}.items():
        with ExitStack() as stack:
            found = interleaved(make(stack), asked.calls, asked.rounds)
        here, there = np.array(found["in process"]), np.array(found["in a worker"])
        added, ratio = np.median(there - here, axis=0), np.median(there / here, axis=0)
        for i, name in enumerate(("p10", "p50")):
            both = f"in process {np.median(here[:, i]):.3f} ms, in a worker {np.median(there[:, i]):.3f} ms"
            print(f"{what:<18} {name}  {both}: {added[i]:+.3f} ms, {ratio[i]:.2f} times")
        told[what] = {"added_p10_ms": round(float(added[0]), 3), "added_p50_ms": round(float(added[1]), 3)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
