"""openpi's own keys pass through; the config's own action vector comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import BadObservation
from offboard_core.codecs import Native, TrainingColumns, rate, timed
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Field, Observation

from .families import PROMPT

#: The convention that says what the numbers of an action vector are, where the config is known.
ACTION_SPACE = "action_space"


@dataclass(frozen=True, kw_only=True)
class OpenPINativeOptions:
    """The options of ``openpi.native``."""

    fps: float | None = None
    """Steps per second; null: nothing says it, and rows carry no timestamps."""

    def __post_init__(self) -> None:
        if self.fps is not None:
            rate(self.fps)


def native(options: OpenPINativeOptions, checkpoint: Checkpoint) -> Codec:
    """Checks what the config is known to take; what it is not known to take passes as it is. For serving only."""
    task = checkpoint.inputs.get("task", Field(shape=(), dtype="str", required=False))
    inputs = {name: declared for name, declared in checkpoint.inputs.items() if name != "task"}
    space = checkpoint.extras.get(ACTION_SPACE)
    inner = OpenPINative(
        inner=Native(inputs=inputs, outputs=checkpoint.outputs),
        task=task,
        conventions={} if space is None else {ACTION_SPACE: space},
    )
    return timed(TrainingColumns(inner=inner, columns={}), options.fps)


@dataclass(frozen=True, kw_only=True)
class OpenPINative(Codec):
    """``inner``, and the instruction under either name: ``task`` is canonical, openpi says ``prompt``."""

    inner: Native
    task: Field
    conventions: Mapping[str, str]

    @property
    def meta(self) -> CodecMeta:
        """What the config takes; nothing where nobody knows."""
        meta = self.inner.meta
        observation = {**meta.observation, "task": self.task} if self.inner.inputs else meta.observation
        return CodecMeta(observation=observation, action=meta.action, conventions=self.conventions)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        own = {name: value for name, value in observation.items() if name != "task"}
        if observation.get("task") is not None:
            own[PROMPT] = observation["task"]
        elif self.task.required and PROMPT not in own:
            raise BadObservation(f"the observation lacks task, the instruction; it holds {', '.join(sorted(own))}")
        return self.inner.encode(own)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return chunk
