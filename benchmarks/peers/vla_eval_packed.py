"""As ``vla_eval``, with shards that have packed what they send beforehand: what is left is the server's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peers import PATIENCE_S
from peers.vla_eval import Client as Shard
from peers.vla_eval import serve

__all__ = ["Client", "serve"]


class Client(Shard):
    """A shard that compresses no picture while it is measured; it counts no answers either."""

    def prepare(self, observation: Mapping[str, Any]) -> Any:
        """The whole message, as vla-eval's client packs it."""
        from vla_eval.protocol.messages import Message, MessageType, pack_message

        return pack_message(Message(MessageType.OBSERVATION, {**super().prepare(observation)}))

    def infer(self, prepared: Any) -> Any:
        """One step of a simulation."""
        return self._loop.run_until_complete(self._exchange(prepared))

    async def _exchange(self, message: bytes) -> Any:
        await self._connection._ws.send(message)
        answer = await self._connection.recv(timeout=PATIENCE_S)
        if answer.type.value == "error":
            raise RuntimeError(f"the server says {answer.payload}")
        return answer.payload
