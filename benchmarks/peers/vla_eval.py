"""offboard as vla-eval's shards see it: its protocol here, its own client there, one step for each observation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from offboard_core.catalog import from_callables
from offboard_core.frontends import make_frontends
from offboard_core.plugins import Plugins
from offboard_core.server import ServerConfig, run_server
from workloads import CHUNK

from peers import PATIENCE_S
from peers.offboard import POLICIES, SleepPolicy


class LongPolicy(SleepPolicy):
    """A model that takes 100 ms for a batch of any size, as a large one does."""

    seconds = 0.1


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """Each observation is a question to the model: what is left of an answer would be played without it."""
    source = from_callables({policy: {**POLICIES, "long": LongPolicy}[policy]})
    frontends = make_frontends(Plugins.discover(), {"vla-eval": {"chunk_size": 1}})
    run_server({"default": source}, ServerConfig(port=0), lambda host, port: listening(port), frontends)


class Client:
    """A shard: what its harness sends, and one step of the answer."""

    def __init__(self, port: int) -> None:
        from vla_eval.connection import Connection  # only shards need it

        self._loop = asyncio.new_event_loop()
        self._connection = Connection(f"ws://127.0.0.1:{port}/vla-eval", timeout=PATIENCE_S, max_retries=1)
        self._loop.run_until_complete(self._connection.connect())

    def prepare(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """Under the names that the model declares: without a key set they are its own."""
        return observation

    def infer(self, prepared: Mapping[str, Any]) -> Any:
        """One step of a simulation."""
        return self._loop.run_until_complete(self._connection.act(dict(prepared)))

    def chunk(self, answer: Any) -> NDArray[np.float32]:
        """The step that came, and those that are not sent."""
        return np.vstack([answer["actions"], CHUNK[1:]])

    def close(self) -> None:
        """Leave."""
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()
