"""The loaded model with its replicas, leases on them, and requests for leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from offboard_client.errors import OffboardError
from offboard_client.wire import Status

from ..types import Placement, Policy, ReportProgress
from .executor import Executor
from .watch import Watch, shown

#: Tells whoever waits how it stands.
OnStatus = Callable[[Status], Awaitable[None]]


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be loaded: its identity, its name for people, and how to make each replica.

    ``model``: what it is, for whoever asks what is loaded.
    """

    key: tuple[str, str]
    label: str
    load: Callable[[ReportProgress, Placement], Policy[Any]]
    replicas: int = 1
    model: Any = None


class Replica:
    """One policy of the model in the slot, with its executor and its leases.

    ``number``: of the model's replicas, from 0. ``lost``: why it answers no more.
    """

    def __init__(self, label: str, number: int, executor: Executor, now: float) -> None:
        self.label, self.number, self.executor = label, number, executor
        self.leases: set[Lease] = set()
        self.lost: OffboardError | None = None
        self.watch = Watch(label, now)

    @property
    def policy(self) -> Policy[Any]:
        """The policy. Its methods belong to :attr:`executor`; its attributes may be read anywhere."""
        assert self.executor.policy is not None
        return self.executor.policy

    @property
    def recovering(self) -> bool:
        """Whether it said so when it was asked last."""
        return self.lost is None and self.watch.said.state == "recovering"

    @property
    def full(self) -> bool:
        """Whether its policy takes no more sessions."""
        most = self.policy.max_sessions
        return most is not None and len(self.leases) >= most

    def unready(self, limit: float) -> str | None:
        """Why no session should begin here; None if one may. ``limit``: seconds that one call may take."""
        if self.lost is not None:
            return f"{self.label} has failed: {shown(self.lost.text)}"
        if stuck := self.executor.stuck(limit):
            return f"{self.label} has been {stuck}"
        return None if self.watch.said.state == "ready" else self.watch.told()

    def health(self) -> dict[str, str]:
        """Plain data for ``/api/v1/status``."""
        if self.lost is not None:
            return {"state": "failed", "reason": self.lost.text}
        return {"state": self.watch.said.state, "reason": self.watch.said.reason}

    def elsewhere(self) -> dict[str, Any] | None:
        """Plain data for ``/api/v1/status``."""
        found = self.watch.elsewhere(self.policy)
        return None if found is None else asdict(found)


class LoadedModel:
    """The model in the slot: its replicas. A session is pinned to one of them for as long as it lives."""

    def __init__(self, spec: ModelSpec, replicas: Sequence[Replica], now: float) -> None:
        self.key, self.label, self.model, self.since = spec.key, spec.label, spec.model, now
        self.replicas = tuple(replicas)

    @property
    def leases(self) -> set[Lease]:
        """Those on all replicas."""
        return {lease for replica in self.replicas for lease in replica.leases}

    @property
    def lost(self) -> OffboardError | None:
        """Why it answers no more; None while one replica does."""
        lost = [replica.lost for replica in self.replicas]
        return None if None in lost else lost[-1]

    @property
    def worn(self) -> bool:
        """Whether it is to be loaded anew: it is lost, or one replica is and nobody uses the others."""
        return self.lost is not None or (not self.leases and any(replica.lost for replica in self.replicas))

    @property
    def recovering(self) -> bool:
        """Whether none that is not lost can answer, and one mends that."""
        left = [replica for replica in self.replicas if replica.lost is None]
        return bool(left) and all(replica.recovering for replica in left)

    @property
    def max_sessions(self) -> int | None:
        """How many sessions those replicas take that are not lost; None: any number."""
        each = [replica.policy.max_sessions for replica in self.replicas if replica.lost is None]
        most = [one for one in each if one is not None]
        return sum(most) if len(most) == len(each) else None

    def health(self) -> dict[str, str]:
        """Plain data for ``/api/v1/status``: of the replica that is best off."""
        states = ("ready", "recovering", "failed")
        return min((replica.health() for replica in self.replicas), key=lambda health: states.index(health["state"]))

    def unready(self, limit: float) -> str | None:
        """Why no session should begin here; None if one may on some replica."""
        why = [reason for replica in self.replicas if (reason := replica.unready(limit))]
        return "; ".join(why) if len(why) == len(self.replicas) else None

    def stuck(self, limit: float) -> str | None:
        """What does not return, where no replica says that it is ready but such as do not; else None."""
        ready = [replica for replica in self.replicas if replica.lost is None and replica.watch.said.state == "ready"]
        stuck = [reason for replica in ready if not replica.full and (reason := replica.unready(limit))]
        return "; ".join(stuck) if len(stuck) == len(ready) and stuck else None

    def pin(self, limit: float) -> Replica | None:
        """The replica with the fewest leases of those on which one more may begin."""
        free = [replica for replica in self.replicas if not replica.full and replica.unready(limit) is None]
        return min(free, key=lambda replica: len(replica.leases), default=None)


class Lease:
    """One session's hold on one replica of the loaded model."""

    def __init__(self, replica: Replica, holder: str, now: float) -> None:
        self.replica, self.holder, self.since, self.active = replica, holder, now, now
        #: The name of its session; None while there is none.
        self.session: str | None = None
        self._calls = 0
        self.lingering: asyncio.TimerHandle | None = None
        self.evicted: OffboardError | None = None
        self._on_evict: Callable[[OffboardError], None] | None = None

    def begin(self, now: float) -> None:
        """Its holder waits for the model from now on, until as many :meth:`end` have followed."""
        self._calls += 1
        self.active = now

    def end(self, now: float) -> None:
        """The model has answered, or nobody waits for that any more."""
        self._calls -= 1
        self.active = now

    def idle(self, now: float) -> float:
        """Seconds since its holder was last heard of; 0 while the holder waits for an answer."""
        return 0.0 if self._calls else now - self.active

    def evict(self, error: OffboardError) -> None:
        """The holder has to go. It is told once: now, or as soon as it listens."""
        if self.evicted is None:
            self.evicted = error
            if self._on_evict is not None:
                self._on_evict(error)

    def on_evict(self, callback: Callable[[OffboardError], None] | None) -> None:
        """Who is told by :meth:`evict`. None before a session is registered, or taken back."""
        self._on_evict = callback
        if callback is not None and self.evicted is not None:
            callback(self.evicted)


class LeaseRequest:
    """A client that waits for a lease. ``news`` is set when there is something to tell."""

    def __init__(self, spec: ModelSpec, holder: str, future: asyncio.Future[Lease]) -> None:
        self.spec, self.holder, self.future = spec, holder, future
        self.news = asyncio.Event()
        future.add_done_callback(lambda _: self.news.set())
