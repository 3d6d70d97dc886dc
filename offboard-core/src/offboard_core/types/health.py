"""How a policy is, as it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

State = Literal["ready", "recovering", "failed"]


@dataclass(frozen=True)
class Health:
    """What :meth:`Policy.health` answers.

    ``state``: ``"ready"``; ``"recovering"``: it cannot answer now and mends that itself, as where a child is restarted
    or a connection is sought; ``"failed"``: it will not answer any more, and has to be loaded anew. ``reason``: why,
    for people; the first line says it, more may follow. Raises ValueError for another state.
    """

    state: State = "ready"
    reason: str = ""

    def __post_init__(self) -> None:
        if self.state not in get_args(State):
            raise ValueError(f"the state {self.state!r:.80} of a health is none of {', '.join(get_args(State))}")


__all__ = ["Health", "State"]
