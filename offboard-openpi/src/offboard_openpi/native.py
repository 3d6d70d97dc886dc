"""openpi's own keys pass through; the config's own action vector comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from offboard_client.errors import BadObservation
from offboard_core.codecs import Native, positive, timed
from offboard_core.types import Checkpoint, Codec, CodecMeta, Field, Observation

from .families import PROMPT
from .pieces import Trained


@dataclass(frozen=True, kw_only=True)
class OpenPINativeOptions:
    """The options of ``openpi.native``."""

    fps: float | None = None
    """Steps per second; null: nothing says it, and rows carry no timestamps."""

    def __post_init__(self) -> None:
        if self.fps is not None:
            positive("fps", self.fps)


def native(options: OpenPINativeOptions, checkpoint: Checkpoint) -> Codec:
    """Checks what the config is known to take; what it is not known to take passes as it is. For serving only."""
    task = checkpoint.inputs.get("task", Field(shape=(), dtype="str", required=False))
    inputs = {name: declared for name, declared in checkpoint.inputs.items() if name != "task"}
    inner = OpenPINative(inner=Native(inputs=inputs, outputs=checkpoint.outputs), task=task)
    return timed(Trained(inner=inner, columns={}), options.fps)


@dataclass(frozen=True, kw_only=True)
class OpenPINative(Codec):
    """``inner``, and the instruction under either name: ``task`` is canonical, openpi says ``prompt``."""

    inner: Native
    task: Field

    @property
    def meta(self) -> CodecMeta:
        """What the config takes; nothing where nobody knows."""
        meta = self.inner.meta
        if not self.inner.inputs:
            return meta
        return CodecMeta(observation={**meta.observation, "task": self.task}, action=meta.action)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        own = {name: value for name, value in observation.items() if name != "task"}
        if observation.get("task") is not None:
            own[PROMPT] = observation["task"]
        elif self.task.required and PROMPT not in own:
            raise BadObservation(f"the observation lacks task, the instruction; it holds {', '.join(sorted(own))}")
        return self.inner.encode(own)

    def decode(self, chunk: Any, observation: Observation) -> Any:
        """See :meth:`Codec.decode`."""
        return chunk
