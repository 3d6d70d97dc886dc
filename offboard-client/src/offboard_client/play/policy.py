"""What a driver needs of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class StepTimings(Protocol):
    """Where the time of a session's steps went."""

    @property
    def last(self) -> Mapping[str, float]:
        """The last step's stages in ms; those of the server are called ``server.<stage>_ms``."""
        ...


class PolicySession(Protocol):
    """What the driver needs of an open session, as :class:`offboard_client.InferenceClient` makes it."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The handshake's ``meta``."""
        ...

    @property
    def timing(self) -> StepTimings:
        """Measured by the session itself."""
        ...

    def infer(self, observation: Mapping[str, Any], /) -> Sequence[Mapping[str, Any]] | None:
        """The rows of a chunk; none = stop, None = go on."""
        ...

    def reset(self) -> None:
        """Start a new episode."""
        ...
