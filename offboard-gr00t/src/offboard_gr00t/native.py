"""GR00T's own names pass through: the cameras, groups and instruction that a checkpoint has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import BadObservation
from offboard_core.codecs import Native, rate, timed
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Field, Observation, is_image


@dataclass(frozen=True, kw_only=True)
class GR00TNativeOptions:
    """The options of ``gr00t.native``."""

    fps: float | None = None
    """Steps per second; null: nothing says it, and rows carry no timestamps."""

    def __post_init__(self) -> None:
        if self.fps is not None:
            rate(self.fps)


def native(options: GR00TNativeOptions, checkpoint: Checkpoint) -> Codec:
    """Checks what the checkpoint declares; what it does not declare passes as it is. For serving only."""
    keys = [name for name, declared in checkpoint.inputs.items() if declared.dtype == "str"]
    inner = Native(
        inputs={name: declared for name, declared in checkpoint.inputs.items() if name not in keys},
        # Which of its data's groups a model of N1.5 answers is not known before it is loaded.
        outputs={name: declared for name, declared in checkpoint.outputs.items() if declared.required},
    )
    return timed(GR00TNative(inner=inner, key=keys[0] if keys else None), options.fps)


@dataclass(frozen=True, kw_only=True)
class GR00TNative(Codec):
    """``inner``, and the instruction under either name: ``task`` is canonical, the checkpoint's is ``key``."""

    inner: Native
    key: str | None

    @property
    def meta(self) -> CodecMeta:
        """What the checkpoint reads and answers; nothing where nobody knows. N1.5 takes images of one size alone."""
        meta = self.inner.meta
        shapes: dict[str, tuple[int, ...]] = {
            name: field.shape or () for name, field in meta.observation.items() if is_image(field)
        }
        sizes = {name: (shape[1], shape[0]) for name, shape in shapes.items() if -1 not in shape}
        task = {} if self.key is None else {"task": Field(shape=(), dtype="str", required=False)}
        named = {} if self.key is None else {self.key: Field(shape=(), dtype="str", required=False)}
        return CodecMeta(
            observation={**meta.observation, **task, **named}, action=meta.action, image_sizes=sizes or None
        )

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`. Raises BadObservation where there is no instruction, or another under each name."""
        own: Mapping[str, Any] = observation
        if self.key is not None:
            texts = {observation[name] for name in ("task", self.key) if isinstance(observation.get(name), str)}
            if len(texts) != 1 or not all(text.strip() for text in texts):
                raise BadObservation(
                    f"expected one instruction, as task or as {self.key}, and there are {len(texts)}: "
                    "GR00T's models answer nothing without one"
                )
            own = {name: value for name, value in observation.items() if name != "task"} | {self.key: texts.pop()}
        return self.inner.encode(own)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return chunk
