"""What a driver needs of a policy, and policies that installed packages offer without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from ..plugins import Chosen, Entry, Found, choose, discover
from ..wire import Status

POLICIES = "offboard.policies"
_LOCAL = "the policy local:VENDOR is not installed: pip install offboard-core"


class StepTimings(Protocol):
    """Where the time of a session's steps went."""

    @property
    def last(self) -> Mapping[str, float]:
        """The last step's stages in ms; those of the server are called ``server.<stage>_ms``."""
        ...


@runtime_checkable
class PolicySession(Protocol):
    """What the driver needs of an open session, as :class:`offboard_client.InferenceClient` makes it.

    One thread at a time; after an error of :meth:`infer` the next call starts a new episode where it has to.
    """

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

    def close(self) -> None:
        """End it. Never raises; may be repeated."""
        ...


@dataclass(frozen=True, kw_only=True)
class PolicyEntry(Entry):
    """A policy without a server: ``factory(options, on_status) -> PolicySession``, which is ready when it returns.

    Entry points of the group ``offboard.policies`` name one each. With a ``part``: ``factory(options, part,
    on_status)``. ``on_status`` is told what it waits for, as by a server. It raises what opening a session raises.
    """


def list_policies() -> list[Found[PolicyEntry]]:
    """The policies that this environment offers without a server, by name."""
    return discover(POLICIES, PolicyEntry)


def choose_policy(name: str) -> Chosen[PolicyEntry]:
    """The policy of this name, ``NAME`` or ``NAME:PART``; see :func:`~offboard_client.plugins.choose`."""
    return choose(name, POLICIES, PolicyEntry, "policy", _elsewhere)


def _elsewhere(name: str) -> str | None:
    if name == "local":
        return _LOCAL
    return None if list_policies() else f"there is no policy {name[:200]!r}; {_LOCAL}"


def open_policy(chosen: Chosen[PolicyEntry], options: Any, on_status: Callable[[Status], None]) -> PolicySession:
    """The session, ready. Raises ConfigurationError, or what opening it raises."""
    return cast("PolicySession", chosen.make(PolicySession, options, on_status))
