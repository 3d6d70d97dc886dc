"""What an inference is told beside the observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .chunk import Chunk


@dataclass(frozen=True, slots=True)
class InferContext:
    """What an inference is told beside the observation; each of it only where :attr:`Policy.context` names it.

    ``prefix``: the steps that the robot has not played yet, in the model's terms, (T, D): the first is due when the
    observation was taken. ``delay_steps``: so many of them will have been played when the answer is there, so they are
    as good as done, and the answer has to agree with them; where the prefix has fewer, the robot plays nothing new
    after its last. ``seed``: what makes a policy that samples answer the same again; None = it may answer anything.
    ``history``: model inputs of earlier moments, oldest first.
    """

    prefix: Chunk | None = None
    delay_steps: int = 0
    seed: int | None = None
    history: tuple[Mapping[str, Any], ...] = ()


#: Of an observation that brings none: the same object for all of them.
NO_CONTEXT = InferContext()
