"""What a person says of compiling, in the options of a vendor that offers it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """For a vendor's own options class to inherit. Raises ValueError for a number that cannot be."""

    compile: bool = False
    """Compile the model, and use that for what it answers as the model does: both are asked the same at the load."""
    compile_tolerance: float = 0.0
    """How far the two may be apart in any number of an action, in the action's own unit; 0: not at all."""
    compile_batch_sizes: tuple[int, ...] = ()
    """For how many robots in one call to compile; without it for 1, and for the most that may share one."""
    compile_tasks: tuple[str, ...] = ()
    """What robots will send as their task, for a model that has to be compiled for each length of it."""

    def __post_init__(self) -> None:
        if not (0 <= self.compile_tolerance < math.inf):
            raise ValueError(f"compile_tolerance is {self.compile_tolerance}, expected a number from 0 up")
        if any(size < 1 for size in self.compile_batch_sizes):
            raise ValueError(f"compile_batch_sizes are {list(self.compile_batch_sizes)}, expected numbers from 1 up")
        given = {
            "compile_tolerance": self.compile_tolerance,
            "compile_batch_sizes": self.compile_batch_sizes,
            "compile_tasks": self.compile_tasks,
        }
        if not self.compile and (said := [name for name, value in given.items() if value]):
            raise ValueError(f"{', '.join(said)} says how to compile, and compile is not given")


__all__ = ["CompileOptions"]
