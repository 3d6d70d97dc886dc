"""What comes of asking a policy: an exchange, and why there is nothing to play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import (
    BadMessage,
    ConnectionFailed,
    Idle,
    InferTimeout,
    ModelLost,
    OffboardError,
    PolicyFailed,
    ShuttingDown,
    told,
)
from ..wire import Row

#: What loses a session; a server that restarts says so, and one that sends what nobody can read is not listened to any
#: more. Whoever opens a session anew begins an episode that the policy knows nothing of.
LOSSES = (BadMessage, ConnectionFailed, Idle, InferTimeout, ModelLost, ShuttingDown)


@dataclass(frozen=True, slots=True)
class HoldStill:
    """There is nothing to play, and why. ``failure``: what went wrong, if something did.

    ``done``: the policy has said that the episode is over.
    """

    reason: str
    failure: OffboardError | None = None
    done: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """One observation and what came of it.

    ``observed``: when it was taken, on the robot's clock. ``rows``: as the session answers. ``took``: seconds on the
    stream's clock. ``timing``: the session's, in ms. ``dropped``: why nothing of it is played, if that is so.
    ``anew``: it is the first with a session that was opened for one that was lost: an episode of the policy's own.
    ``configured``: what had been set in the session by then. ``images``: how its images were sent (:class:`.Answer`).
    """

    observation: Mapping[str, Any]
    observed: float
    rows: Sequence[Row] | None
    took: float
    timing: Mapping[str, float]
    failure: OffboardError | None = None
    dropped: str | None = None
    anew: bool = False
    configured: Mapping[str, Any] = field(default_factory=dict[str, Any])
    images: str | None = None


def named(error: BaseException) -> OffboardError:
    """What a session raised as an error with a code; SystemExit of one in this process included."""
    return error if isinstance(error, OffboardError) else PolicyFailed(f"the policy failed: {told(error)}")
