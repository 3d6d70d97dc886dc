"""The loaded model, leases on it, and requests for leases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import OffboardError
from offboard_client.wire import Status

from ..types import Policy, ReportProgress
from .model_thread import ModelThread
from .watch import Watch

#: Tells whoever waits how it stands.
OnStatus = Callable[[Status], Awaitable[None]]


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be loaded: its identity, its name for people, and how to make it (on the model thread)."""

    key: tuple[str, str]
    label: str
    load: Callable[[ReportProgress], Policy[Any]]


class LoadedModel:
    """A policy in the slot, with its thread and its leases."""

    def __init__(self, spec: ModelSpec, thread: ModelThread, now: float) -> None:
        self.key, self.label, self.thread, self.since = spec.key, spec.label, thread, now
        self.leases: set[Lease] = set()
        self.lost: OffboardError | None = None
        self.watch = Watch(spec.label, now)

    @property
    def policy(self) -> Policy[Any]:
        """The policy. Its methods belong to :attr:`thread`; its attributes may be read anywhere."""
        assert self.thread.policy is not None
        return self.thread.policy

    @property
    def recovering(self) -> bool:
        """Whether it said so when it was asked last."""
        return self.lost is None and self.watch.said.state == "recovering"

    def health(self) -> dict[str, str]:
        """Plain data for ``/api/v1/status``."""
        if self.lost is not None:
            return {"state": "failed", "reason": self.lost.text}
        return {"state": self.watch.said.state, "reason": self.watch.said.reason}


class Lease:
    """One session's hold on the loaded model."""

    def __init__(self, loaded: LoadedModel, holder: str, now: float) -> None:
        self.loaded, self.holder, self.since, self.active = loaded, holder, now, now
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
