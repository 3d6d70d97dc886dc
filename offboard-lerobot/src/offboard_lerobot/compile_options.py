"""How a LeRobot policy is compiled. Importing this imports neither torch nor lerobot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from offboard_core.proofs import CompileOptions


@dataclass(frozen=True, kw_only=True)
class TorchCompileOptions(CompileOptions):
    """Those of core, and torch's own choice."""

    compile_mode: Literal["cudagraphs", "default", "reduce-overhead", "max-autotune"] | None = None
    """By CUDA graphs, or by a mode of torch.compile; without it what fits the device and the tolerance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile_mode is not None and not self.compile:
            raise ValueError("compile_mode says how to compile, and compile is not given")


__all__ = ["TorchCompileOptions"]
