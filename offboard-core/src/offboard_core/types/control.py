"""What a robot's session may set, and ask beside inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class NoParams:
    """The parameters of what has none."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control frame of a policy's own; :attr:`Policy.controls` has its name.

    ``summary``: what it does, on one line. ``run(session, params)`` does it, on the model's thread, between two
    observations of its session, and answers plain data under the names of ``answers``: texts, finite numbers, lists
    and maps, together at most 4096 bytes as msgpack; None where there are none.
    ``params``: a frozen dataclass, filled and checked as session parameters are; what has no default must be given.
    ``answers``: what is under each name of the answer, with its unit.
    """

    summary: str
    run: Callable[[Any, Any], Mapping[str, Any] | None]
    params: type = NoParams
    answers: Mapping[str, str] = field(default_factory=dict[str, str])
