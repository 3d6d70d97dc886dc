"""Serving policies, without a transport: every frontend stands on :class:`PolicyService`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from typing import Any, TypeVar, cast

from offboard_client.errors import (
    BadParameter,
    ConfigurationError,
    Idle,
    InferTimeout,
    LoadFailed,
    ModelLost,
    ModelNotFound,
    OffboardError,
)
from offboard_client.messages import Status

from ..bound import BoundCodec
from ..options import build, parse_value
from ..source import ModelSource
from ..types import Checkpoint, Policy, Report, Session
from .exchange import Route, Wire
from .lease import Limits, OnStatus, Recipe
from .meta import build_meta
from .session import ServiceSession
from .slot import Slot
from .stats import ServerStats, SessionStats

log = logging.getLogger(__name__)
T = TypeVar("T")

#: How long a registry may take to list its place, in seconds.
LISTING = 30.0


class PolicyService:
    """Models by name, one loaded at a time, sessions on them. Lives on one event loop.

    ``sources``: name → source. With one source ids are the checkpoint's own; with several they are ``name/id``.
    """

    def __init__(self, sources: Mapping[str, ModelSource], limits: Limits | None = None) -> None:
        if not sources:
            raise ConfigurationError("nothing to serve: name at least one model source")
        self.sources = dict(sources)
        self.limits = limits or Limits()
        self.stats = ServerStats()
        self.address: tuple[str, int] = ("", 0)
        self.sessions: dict[str, ServiceSession] = {}
        self._defaults: dict[str, Checkpoint] = {}
        self._problems: dict[str, OffboardError] = {}
        self._translators = ThreadPoolExecutor(2, thread_name_prefix="offboard-translate")
        self._listers = ThreadPoolExecutor(2, thread_name_prefix="offboard-registry")
        self._background: set[asyncio.Task[Any]] = set()
        self.slot: Slot

    async def start(self) -> None:
        """Decide and pin each source's default. Raises only if no source has one."""
        self.slot = Slot(self.limits, self._translators, self.stats)
        for name, source in self.sources.items():
            try:
                self._defaults[name] = await self._listed(source.default)
            except OffboardError as error:
                self._problems[name] = error
                log.warning("%s: %s", name, error)
        if not self._defaults:
            raise next(iter(self._problems.values()))

    def preload(self) -> None:
        """Load the default model in the background, so that the first robot need not wait."""
        self._spawn(self._preload())

    async def models(self) -> list[str]:
        """Every id a session URL may name, oldest first per source. Raises if a place cannot be listed."""
        ids: list[str] = []
        for name, source in self.sources.items():
            ids += [self._id(name, c) for c in await self._listed(source.registry.checkpoints)]
        return ids

    async def open(
        self,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
        *,
        wire: Callable[[BoundCodec], Wire],
        holder: str,
        on_status: OnStatus,
        bridge: Callable[[BoundCodec], BoundCodec] = lambda codec: codec,
    ) -> ServiceSession:
        """A session on a model (None: the default), loading it if need be.

        ``params``: name and value pairs as in a query string; ``bridge`` and ``wire``: the frontend's codec around the
        model's own, and its translations. Cancel it when the client is gone.
        """
        for_codec, for_policy = _split(params)
        try:
            name, checkpoint = await self._resolve(model_id)
            source = self.sources[name]
            bound = bridge(await self._listed(source.codec.bind, checkpoint, for_codec))
        except ConfigurationError as error:
            raise LoadFailed(error.text) from None
        recipe = Recipe((name, checkpoint.id), self._id(name, checkpoint), partial(_load, source, checkpoint))
        lease = await self.slot.acquire(recipe, holder, on_status)
        thread, begun = lease.loaded.thread, list[Session]()
        try:
            policy = lease.loaded.policy
            options: Any = build(cast("type[Any]", policy.params), for_policy, _known(policy, bound))
            await thread.call(partial(_begin, policy, options, begun), self.limits.infer, "starting an episode")
            meta = build_meta(
                vendor=source.vendor, model_id=recipe.label, checkpoint=checkpoint, policy=policy.meta, codec=bound,
                address=self.address,
            )  # fmt: skip
            route = Route(begun[0], bound, wire(bound), SessionStats(self.stats))
        except BaseException as error:
            # Calls run in order: if the episode was or will still be begun, this ends it.
            thread.post(partial(_end, begun), "ending an episode")
            if isinstance(error, ModelLost):
                self.slot.lost(lease.loaded, error)
            self.slot.release(lease)
            raise
        session = ServiceSession(self.slot, lease, route, meta, (model_id, list(params)), self._forget)
        self.sessions[session.id] = session
        self.stats.sessions_opened += 1
        return session

    def reclaim(
        self,
        session_id: str,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
        wire: Callable[[BoundCodec], Wire],
    ) -> ServiceSession | None:
        """The session of a robot whose network failed a moment ago; its episode goes on.

        None if its lease does not linger any more, or if another model or other parameters are asked for now.
        """
        session = self.sessions.get(session_id)
        if session is None:
            return None
        asked_id, asked_params = session.asked
        same = model_id in (asked_id, session.meta["checkpoint_id"]) and list(params) == asked_params
        if not same or not self.slot.reclaim(session.lease):
            return None
        session.route.wire = wire(session.route.codec)
        return session

    def make_room(self, silence: float) -> bool:
        """End the session that sent nothing for the longest time; False if that is less than ``silence`` seconds."""
        quietest = max(self.sessions.values(), key=ServiceSession.silence, default=None)
        if quietest is None or (silent := quietest.silence()) < silence or not silent:
            return False
        quietest.evict(Idle(f"nothing was sent for {silent:.0f} s, and the server is full"))
        return True

    def status(self) -> dict[str, Any]:
        """Plain data for ``/api/v1/status``."""
        defaults = {name: self._id(name, checkpoint) for name, checkpoint in self._defaults.items()}
        return {"default": next(iter(defaults.values()), None), "sessions": len(self.sessions), **self.slot.status()}

    async def close(self) -> None:
        """Let go of every session and the model."""
        for task in list(self._background):
            task.cancel()
        for session in list(self.sessions.values()):
            session.close()
        await self.slot.close()
        self._translators.shutdown(wait=False, cancel_futures=True)
        self._listers.shutdown(wait=False, cancel_futures=True)

    # -- inside ---------------------------------------------------------------------------------------------------
    async def _preload(self) -> None:
        async def tell(status: Status) -> None:
            log.info("%s", status)

        try:
            name, checkpoint = await self._resolve(None)
            recipe = Recipe(
                (name, checkpoint.id), self._id(name, checkpoint), partial(_load, self.sources[name], checkpoint)
            )
            self.slot.release(await self.slot.acquire(recipe, "the server itself", tell))
        except OffboardError as error:
            log.error("%s", error)

    async def _resolve(self, model_id: str | None) -> tuple[str, Checkpoint]:
        if model_id is None:
            name = next(iter(self._defaults))
            return name, self._defaults[name]
        if len(self.sources) == 1:
            name, rest = next(iter(self.sources)), model_id
        else:
            name, slash, rest = model_id.partition("/")
            if name not in self.sources:
                raise ModelNotFound(
                    f"there is no model {model_id[:200]!r} here; "
                    f"ids begin with one of {', '.join(self.sources)} and a slash"
                )
            if not slash:
                if name in self._problems:
                    raise self._problems[name]
                return name, self._defaults[name]
        return name, await self._listed(self.sources[name].registry.resolve, rest)

    def _id(self, name: str, checkpoint: Checkpoint) -> str:
        return checkpoint.id if len(self.sources) == 1 else f"{name}/{checkpoint.id}"

    async def _listed(self, function: Callable[..., T], *args: Any) -> T:
        """Run something that may touch a disk or a network where it cannot hold up the loop."""
        future = asyncio.get_running_loop().run_in_executor(self._listers, partial(function, *args))
        try:
            return await asyncio.wait_for(future, LISTING)
        except OffboardError:
            raise
        except asyncio.TimeoutError:
            raise InferTimeout(f"the place where the models lie did not answer within {LISTING:g} s") from None
        except Exception as error:
            log.exception("looking up what can be served failed")
            raise ConfigurationError(f"what can be served cannot be told: {type(error).__name__}: {error}") from error

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _forget(self, session: ServiceSession) -> None:
        """The session is closed: end its episode on the model."""
        loaded, episode = session.lease.loaded, session.route.session
        self.sessions.pop(session.id, None)
        loaded.thread.post(episode.close, "ending an episode")
        loaded.thread.forget(session.route)


def _load(source: ModelSource, checkpoint: Checkpoint, report: Report) -> Policy[Any]:
    return source.loader.load(checkpoint, report)


def _begin(policy: Policy[Any], options: Any, begun: list[Session]) -> None:
    begun.append(policy.new_session(options))


def _end(begun: list[Session]) -> None:
    for episode in begun:
        episode.close()


def _split(params: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters for the codec (``codec.NAME``) and for the policy, values parsed."""
    for_codec: dict[str, Any] = {}
    for_policy: dict[str, Any] = {}
    for name, text in params:
        target, key = (for_codec, name[6:]) if name.startswith("codec.") else (for_policy, name)
        if key in target:
            raise BadParameter(f"the session parameter {name} was given twice")
        target[key] = parse_value(text)
    return for_codec, for_policy


def _known(policy: Policy[Any], bound: BoundCodec) -> str:
    names = [f.name for f in fields(policy.params)]
    return f"session parameter (this policy has {', '.join(names) or 'none'}; {bound.name} has codec.*)"
