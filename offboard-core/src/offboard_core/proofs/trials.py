"""What a model and its faster form are both asked: observations that are made up, and the same at every load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import Array, Field

#: How many observations each robot of a trial brings, one after the other. A CUDA graph is recorded at the second call
#: of its kind and played back from the third on, with what it was last given unless somebody sees to that.
STEPS = 4
#: What a task says where nothing else is given.
TASK = "put the cube into the box"
#: From where all of it is drawn.
_SEED = 20260


@dataclass(frozen=True)
class Trial:
    """Some episodes side by side. ``steps``: for each step what each of the robots brings, by the model's names."""

    steps: Sequence[Sequence[Mapping[str, Any]]]

    @property
    def batch_size(self) -> int:
        """How many robots share each call."""
        return len(self.steps[0])

    def seed(self, step: int, robot: int) -> int:
        """The seed that this robot sends with this step, where the policy takes one."""
        return _SEED + step * self.batch_size + robot


def make_trials(
    inputs: Mapping[str, Field],
    batch_sizes: Sequence[int],
    ranges: Mapping[str, tuple[Array, Array]] | None = None,
    tasks: Sequence[str] = (),
) -> Iterator[Trial]:
    """A trial for each of ``batch_sizes``, and for each of ``tasks``, the smaller first.

    ``inputs``: the model's, as :attr:`Checkpoint.inputs` has them. A picture is noise; numbers are anywhere between the
    two ends that ``ranges`` has for them, in the units that robots send, and around 0 where it has none; what is no
    number and no text is nothing (0, False). Every robot of a trial has the same task, for ``"task"`` and every other
    text, and each observation is another. Made as they are asked for: a batch of pictures is large.
    """
    for size in batch_sizes:
        for task in tasks or (TASK,):
            draws = np.random.default_rng(_SEED)
            yield Trial([[_observation(inputs, ranges or {}, task, draws) for _ in range(size)] for _ in range(STEPS)])


def _observation(
    inputs: Mapping[str, Field],
    ranges: Mapping[str, tuple[Array, Array]],
    task: str,
    draws: np.random.Generator,
) -> dict[str, Any]:
    made: dict[str, Any] = {name: _value(field, ranges.get(name), task, draws) for name, field in inputs.items()}
    return {"task": task, **made}


def _value(field: Field, ends: tuple[Array, Array] | None, task: str, draws: np.random.Generator) -> Any:
    if field.dtype == "str":
        return task
    shape, dtype = [max(length, 1) for length in field.shape or ()], np.dtype(field.dtype or "float32")
    if dtype == np.uint8:
        return draws.integers(0, 256, shape, np.uint8)
    if dtype.kind != "f":
        return np.zeros(shape, dtype)
    made = draws.uniform(*ends, shape) if ends is not None else draws.standard_normal(shape)
    return np.asarray(made, dtype)


__all__ = ["STEPS", "TASK", "Trial", "make_trials"]
