"""What a session may tune of a policy that samples its actions step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from offboard_client.plugins import changeable
from offboard_core.types import NoParams


def sampling_params(steps: int, most: int) -> type:
    """The parameters of a model whose checkpoint says ``steps``, and that was trained with ``most``."""

    @dataclass(frozen=True, kw_only=True)
    class SamplingParams:
        num_inference_steps: int = changeable(steps)
        """In how many steps noise becomes an action: fewer are faster and coarser."""

        def __post_init__(self) -> None:
            if not 1 <= self.num_inference_steps <= most:
                raise ValueError(f"num_inference_steps is {self.num_inference_steps}, expected 1 to {most}")

    return SamplingParams


def joined(*parts: Any) -> type:
    """The parameters of all of these classes in one."""
    if len(parts) < 2:
        return parts[0] if parts else NoParams

    @dataclass(frozen=True, kw_only=True)
    class SessionParams(*parts):  # pyright: ignore[reportUntypedBaseClass]
        def __post_init__(self) -> None:
            for part in parts:
                part.__post_init__(self)

    return SessionParams
