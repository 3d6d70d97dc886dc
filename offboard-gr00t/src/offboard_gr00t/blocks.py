"""What the codecs of this package share, beyond core's building blocks."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction, LoadFailed, brief
from offboard_core.codecs import ActionSplit
from offboard_core.types import Array, Checkpoint, Chunk, Codec, CodecMeta, Feature, Field, Observation

#: What a checkpoint may say that its answers are → what GR00T's server sends of it is absolute: it adds the state to
#: what is relative to that. Steps (``DELTA``), and what a fork has of its own, it leaves as they are.
ABSOLUTE = frozenset({"ABSOLUTE", "RELATIVE"})
#: Steps are called so, or nothing in particular, as any numbers that are answered as they were trained.
STEPS = frozenset({"ABSOLUTE", "DELTA"})
#: The one vector that the groups of an action are between GR00T's names and the robot's.
VECTOR = "action"


@dataclass(frozen=True, kw_only=True)
class Instruction(Codec):
    """Hands the instruction ``task`` to the model under its own ``key``; GR00T's models answer nothing without one."""

    key: str

    @property
    def meta(self) -> CodecMeta:
        """Reads a text."""
        return CodecMeta(observation={"task": Field(shape=(), dtype="str", required=True)})

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        task = observation.get("task")
        if not isinstance(task, str) or not task.strip():
            raise BadObservation(f"task is {brief(task)}, expected the instruction as text: GR00T's models need one")
        return {self.key: task}


@dataclass(frozen=True, kw_only=True)
class Groups(Codec):
    """``split``, for a model that answers ``groups`` (name → numbers a step) in place of one vector, in this order.

    ``unplayed``: groups that it may answer besides, and that are not played.
    """

    groups: Mapping[str, int]
    split: ActionSplit
    unplayed: frozenset[str] = frozenset()

    @property
    def meta(self) -> CodecMeta:
        """That of ``split``."""
        return self.split.meta

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`. Raises InvalidAction for other groups, or of another width."""
        columns = chunk.columns()
        if {*columns} - self.unplayed != {*self.groups}:
            raise InvalidAction(f"the model answered {', '.join(columns)}, the codec expects {', '.join(self.groups)}")
        parts = [self._group(name, columns[name]) for name in self.groups]
        return self.split.decode(Chunk({VECTOR: np.concatenate(parts, axis=1)}, chunk.timestamp), observation)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        vector = self.split.encode_actions(chunk, observation).columns()[VECTOR]
        parts = np.split(vector, np.cumsum([*self.groups.values()])[:-1], axis=1)
        return Chunk(dict(zip(self.groups, parts, strict=True)), chunk.timestamp)

    @property
    def one_way(self) -> str | None:
        """What ``split`` says."""
        return self.split.one_way

    @property
    def features(self) -> Mapping[str, Feature]:
        """One column, which ``meta/modality.json`` takes apart again."""
        return self.split.features

    @property
    def trained_on(self) -> frozenset[str]:
        """What ``split`` is."""
        return self.split.trained_on

    def label(self, frame: Observation) -> dict[str, Any]:
        """The vector that the model should have answered to this frame."""
        return self.split.label(frame)

    def _group(self, name: str, steps: Array) -> Array:
        if steps.shape[1:] != (self.groups[name],):
            raise InvalidAction(f"the model answered {name} {steps.shape}, expected (T, {self.groups[name]})")
        return steps


def instruction_key(checkpoint: Checkpoint, default: str) -> str:
    """The key of the instruction: the checkpoint's own, where it says one."""
    return next((name for name, declared in checkpoint.inputs.items() if declared.dtype == "str"), default)


def image_size(checkpoint: Checkpoint, name: str, default: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the model's image ``name``: N1.5 takes just the size that it was trained with."""
    declared = checkpoint.inputs.get(name)
    shape = () if declared is None or declared.shape is None else declared.shape[-3:]
    return default if len(shape) != 3 or -1 in shape else (shape[1], shape[0])


def check_fit(
    codec: str,
    makes: Mapping[str, tuple[int, ...] | None],
    takes: Mapping[str, int],
    checkpoint: Checkpoint,
    unplayed: Set[str] = frozenset(),
    plays: Set[str] = ABSOLUTE,
    *,
    maps: bool = False,
) -> None:
    """Raises LoadFailed, with the codecs that fit, where :func:`difference` finds something.

    ``maps``: the codec's option ``map`` gives its cameras the checkpoint's names; where nothing else differs, and that
    has no more of them, it is told, and the error is not ``permanent``, for a session may set it.
    """
    if (found := difference(makes, takes, checkpoint, unplayed, plays)) is None:
        return
    from .fitting import fitting

    groups = {name: each for name, each in checkpoint.inputs.items() if not name.startswith("video.")}
    reads = [name for name, each in checkpoint.inputs.items() if each.required and name not in groups]
    has = [name for name in makes if name.startswith("video.")]
    mends = maps and len(reads) <= len(has)
    mends = mends and difference(makes, takes, replace(checkpoint, inputs=groups), unplayed, plays) is None
    raise LoadFailed(
        f"{'name its cameras with codec.map, or ' * mends}choose another --codec: gr00t.{codec} does not fit the "
        f"checkpoint {checkpoint.id}, which {found}. By their names and widths these fit: "
        f"{', '.join(fitting(checkpoint))}",
        permanent=not mends,
    )


def difference(
    makes: Mapping[str, tuple[int, ...] | None],
    takes: Mapping[str, int],
    checkpoint: Checkpoint,
    unplayed: Set[str] = frozenset(),
    plays: Set[str] = ABSOLUTE,
) -> str | None:
    """What the checkpoint reads or answers and a codec does not, or in another width; None for nothing.

    ``makes``: model input → its shape, None for an image. ``takes``: group of the answer → numbers a step.
    ``unplayed``: groups that it may answer besides. ``plays``: the representations that the codec can
    decode. A checkpoint that declares nothing reads and answers anything.
    """
    for name, declared in checkpoint.inputs.items():
        if name not in makes and declared.required and declared.dtype != "str":
            return f"reads {name}; the codec makes {', '.join(makes)}"
        shape = makes.get(name)
        if shape is not None and declared.shape is not None and -1 not in declared.shape and shape != declared.shape:
            return f"reads {name} as {declared.shape}; the codec makes it {shape}"
    outputs = {name: declared for name, declared in checkpoint.outputs.items() if name not in unplayed}
    sure = {name for name, declared in outputs.items() if declared.required}
    if outputs and not (sure <= takes.keys() <= outputs.keys()):
        return f"answers {', '.join(outputs)}; the codec decodes {', '.join(takes)}"
    for name, width in takes.items():
        shape = outputs[name].shape if name in outputs else None
        if shape is not None and -1 not in shape and shape != (width,):
            return f"answers {name} as {shape}; the codec decodes {width} numbers"
    kinds = checkpoint.extras.get("representations", {})
    for name in takes:
        kind = kinds.get(name.removeprefix("action."), "ABSOLUTE")
        if kind not in plays:
            return (
                f"answers {name} as {kind!s:.40}, which GR00T's server sends as "
                f"{'absolute numbers' if kind in ABSOLUTE else 'it was trained'}; the codec decodes "
                f"{'absolute ones' if plays == ABSOLUTE else 'steps'}"
            )
    return None
