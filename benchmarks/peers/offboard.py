"""offboard as ``offboard serve`` runs it, with its own client: checks, timing and metrics as they are by default."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from offboard_client import InferenceClient
from offboard_core import Chunk, Field, InferContext, Item, Policy, Session, declare
from offboard_core.catalog import from_callables
from offboard_core.engine import BatchWindow
from offboard_core.server import ServerConfig, run_server
from workloads import CHUNK

_IMAGE = Field(shape=(-1, -1, 3), dtype="uint8", required=False)
#: What a vendor's policy declares: without it nothing would be checked, at either end.
_declared = declare(
    observation={
        "robot_state.q": Field(shape=(8,), dtype="float32"),
        "image.wrist": _IMAGE,
        "image.exterior": _IMAGE,
        "task": Field(dtype="str", required=False),
    },
    action={"action": (8,)},
    steps=len(CHUNK),
)

#: What one call of the ``sleep`` policy takes, however many robots share it, in seconds.
SLEEP_S = 0.02


class NullSession(Session):
    """Answers the chunk at once."""

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        """The same chunk for every input."""
        return Chunk(CHUNK)


@_declared
class NullPolicy(Policy[NullSession]):
    """A model that takes no time."""

    def new_session(self, params: Any) -> NullSession:
        """One more robot."""
        return NullSession()


@_declared
class AtOncePolicy(NullPolicy):
    """A model that takes no time, and says so: it is asked on the event loop."""

    blocking = False


@_declared
class SleepPolicy(NullPolicy):
    """A model that takes 20 ms for a batch of any size."""

    max_batch_size = 16
    seconds = SLEEP_S

    def infer_many(self, batch: Sequence[Item[NullSession]]) -> list[Chunk]:
        """All at once, after the sleep."""
        time.sleep(self.seconds)
        return [item.session.infer(item.inputs, item.context) for item in batch]


POLICIES = {"null": NullPolicy, "sleep": SleepPolicy, "greedy": SleepPolicy}


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """What ``offboard serve`` does once its flags are read."""
    if policy == "greedy":
        BatchWindow.until = lambda self, began, now: None
    source = from_callables({policy: POLICIES[policy]})
    run_server({"default": source}, ServerConfig(port=0), lambda host, port: listening(port))


class Client:
    """The robot's client, from an observation to rows of actions. Over the socket, as from another machine."""

    shared_memory = False

    def __init__(self, port: int) -> None:
        self._client = InferenceClient("127.0.0.1", port, shared_memory=self.shared_memory)
        self._session = self._client.new_session()

    def prepare(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """As it is."""
        return observation

    def infer(self, prepared: Mapping[str, Any]) -> Any:
        """One step of a robot."""
        return self._session.infer(prepared)

    def chunk(self, answer: Any) -> NDArray[np.float32]:
        """The rows' actions, one below the other."""
        return np.stack([row["action"]["action"] for row in answer])

    def close(self) -> None:
        """Leave."""
        self._session.close()
