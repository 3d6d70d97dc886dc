"""Serving policies, without a transport: every frontend stands on :class:`PolicyService`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, cast

from offboard_client.errors import (
    BadParameter,
    Busy,
    ConfigurationError,
    Idle,
    LoadFailed,
    ModelLost,
    OffboardError,
    ShuttingDown,
    unknown,
)
from offboard_client.plugins import build, parse_value
from offboard_client.protocol import Sparse
from offboard_client.wire import Status

from ..catalog import Catalog, Model, ModelSource, ResolvedCodec
from ..types import Policy, Session
from .configuration import CODEC, Configuration
from .context import ContextReader
from .controls import check_kept, describe_controls
from .lease import Lease, ModelSpec, OnStatus
from .meta import build_meta
from .model_slot import ModelSlot
from .observers import Observer, Observers
from .pipeline import Pipeline, Serializer
from .records import SessionRecords
from .session import ServiceSession
from .stats import ServerStats, SessionStats
from .timeouts import ServiceTimeouts

log = logging.getLogger(__name__)

#: Seconds between two tries of the server itself to have a model in the slot.
AGAIN = 30.0

#: Told how a load stands; None when there is nothing to wait for any more.
OnProgress = Callable[[Status | None], None]


class PolicyService:
    """The models of a :class:`Catalog`, one loaded at a time, and sessions on them. Lives on one event loop.

    ``observers``: who watches the exchanges, by a name for people. They are closed with it.
    """

    def __init__(
        self, sources: Mapping[str, ModelSource], limits: ServiceTimeouts | None = None,
        observers: Mapping[str, Observer] | None = None,
    ) -> None:  # fmt: skip
        self.catalog = Catalog(sources)
        self.limits = limits or ServiceTimeouts()
        self.stats = ServerStats()
        self.observers = Observers(observers)
        #: Where it is served, for the handshake; None where nobody has said.
        self.address: tuple[str, int] | None = None
        self.sessions: dict[str, ServiceSession] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self.slot: ModelSlot

    async def start(self) -> None:
        """Decide and pin each source's default. Raises only if no source has one."""
        self.slot = ModelSlot(self.limits, self.stats)
        self.observers.start()
        await self.catalog.start()

    def preload(
        self, on_never: Callable[[LoadFailed], None], on_progress: OnProgress | None = None
    ) -> asyncio.Future[None]:
        """Load the default model in the background, so that the first robot need not wait. Done when it has been tried.

        ``on_never`` is told if it can never be loaded; what another try may mend is logged, and tried again.
        ``on_progress`` is told how it stands; without it the log says what is new.
        """
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._spawn(self._keep(tried, on_never, on_progress or _log_progress()))
        return tried

    async def open(
        self,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
        *,
        serializer: Callable[[ResolvedCodec], Serializer],
        holder: str,
        on_status: OnStatus,
        bridge: Callable[[ResolvedCodec], ResolvedCodec] = lambda codec: codec,
    ) -> ServiceSession:
        """A session on a model (None: the default), loading it if need be.

        ``params``: name and value pairs as in a query string; ``bridge`` and ``serializer``: the frontend's codec
        around the model's own, and its translations. Cancel it when the client is gone.
        """
        for_codec, for_policy = _split(params)
        try:
            model = await self.catalog.resolve(model_id, self._loaded())
            resolve = partial(self._bridged, model, bridge)
            codec = await resolve(for_codec)
        except ConfigurationError as error:
            raise LoadFailed(error.text) from None
        lease = await self._lease(model, holder, on_status)
        executor, begun, now = lease.replica.executor, list[Session](), asyncio.get_running_loop().time
        lease.begin(now())
        try:
            policy = lease.replica.policy
            await self.catalog.hold(model, self._loaded(), policy, for_codec)
            _check_known(for_policy, policy, codec)
            options: Any = build(cast("type[Any]", policy.params), for_policy, "this policy")
            configuration = Configuration(options, codec, for_policy, for_codec, resolve)
            controls = describe_controls(policy, configuration)
            await executor.call(partial(_begin, policy, options, begun), self.limits.infer, "starting an episode")
            if lease.replica.lost is not None:
                raise ModelLost(lease.replica.lost.text)
            check_kept(policy, begun[0], options)
            context = ContextReader(policy, codec)
            meta = build_meta(
                vendor=model.source.vendor, model_id=model.id, checkpoint=model.checkpoint, policy=policy.meta,
                codec=codec, controls=controls, context=context.meta(), address=self.address,
                elsewhere=lease.replica.watch.elsewhere(policy),
            )  # fmt: skip
            pipeline = Pipeline(begun[0], codec, partial(serializer, codec), SessionStats(self.stats), context)
        except BaseException as error:
            # Calls run in order: if the episode was or will still be begun, this ends it.
            executor.post(partial(_end, begun), "ending an episode")
            if isinstance(error, ModelLost):
                self.slot.lost(lease.replica, error)
            self.slot.release(lease)
            raise
        lease.end(now())
        asked = model_id, list(params)
        session = ServiceSession(self.slot, lease, pipeline, meta, configuration, asked, self._forget)
        lease.session = session.name
        session.records = SessionRecords(self.observers, session.id, model.id, lease.replica.number, holder, meta)
        if self.observers:
            pipeline.records = session.records
        self.sessions[session.id] = session
        self.stats.sessions_opened += 1
        return session

    def reclaim(
        self,
        session_id: str,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
        serializer: Callable[[ResolvedCodec], Serializer],
    ) -> ServiceSession | None:
        """The session of a robot whose network failed a moment ago; its episode goes on, by the options it began with.

        None if its lease does not linger any more, or if another model or other parameters are asked for now.
        """
        session = self.sessions.get(session_id)
        if session is None:
            return None
        asked_id, asked_params = session.asked
        same = model_id in (asked_id, session.meta["checkpoint_id"]) and list(params) == asked_params
        if not same or not self.slot.reclaim(session.lease):
            return None
        session.as_begun()
        session.pipeline.renew_serializer(partial(serializer, session.pipeline.codec))
        return session

    def give_up(self, session_id: str) -> None:
        """End the session of a robot that has come back and waits: the server has not noticed yet that it was gone."""
        if (session := self.sessions.get(session_id)) is not None:
            session.evict(Busy("its robot has come back on another connection, and would wait for this one"))
            session.close()

    def make_room(self, silence: float) -> bool:
        """End the session that sent nothing for the longest time; False if that is less than ``silence`` seconds."""
        quietest = max(self.sessions.values(), key=ServiceSession.silence, default=None)
        if quietest is None or (silent := quietest.silence()) < silence or not silent:
            return False
        quietest.evict(Idle(f"nothing was sent for {silent:.0f} s, and the server is full"))
        return True

    def status(self) -> dict[str, Any]:
        """Plain data for ``/api/v1/status``."""
        told = {"default": self.catalog.default.id, "sessions": len(self.sessions), **self.slot.status()}
        return {**told, "observers": self.observers.counts()} if self.observers else told

    async def close(self) -> None:
        """Let go of every session and the model."""
        for task in list(self._background):
            task.cancel()
        for session in list(self.sessions.values()):
            session.close()
        try:
            await self.slot.close()
        finally:
            await self.observers.close()

    # -- inside ---------------------------------------------------------------------------------------------------
    async def _keep(
        self, tried: asyncio.Future[None], on_never: Callable[[LoadFailed], None], on_progress: OnProgress
    ) -> None:
        """A model in the slot: where robots are sent to ready servers only, nobody comes to have one loaded."""
        try:
            await self._preload(self.catalog.default, on_never, on_progress)
        finally:
            if not tried.done():
                tried.set_result(None)
        while True:
            await asyncio.sleep(AGAIN)
            if self.slot.vacant():
                await self._preload(self._loaded() or self.catalog.default, on_never, _log_progress())

    async def _preload(self, model: Model, on_never: Callable[[LoadFailed], None], on_progress: OnProgress) -> None:
        async def tell(status: Status) -> None:
            on_progress(status)

        try:
            try:
                self.slot.release(await self._lease(model, "the server itself", tell))
            finally:
                on_progress(None)
        except OffboardError as error:
            if isinstance(error, LoadFailed) and error.permanent and model.key == self.catalog.default.key:
                on_never(error)
            else:
                # Who drains before the load began has asked for just that.
                log.log(logging.INFO if isinstance(error, ShuttingDown) else logging.ERROR, "%s", error)

    async def _lease(self, model: Model, holder: str, on_status: OnStatus) -> Lease:
        load = partial(model.source.load, model.checkpoint)
        spec = ModelSpec(model.key, model.id, load, model.source.replicas, model)
        return await self.slot.acquire(spec, holder, on_status)

    async def _bridged(
        self, model: Model, bridge: Callable[[ResolvedCodec], ResolvedCodec], for_codec: Mapping[str, Any]
    ) -> ResolvedCodec:
        return bridge(await self.catalog.resolve_codec(model, for_codec))

    def _loaded(self) -> Model | None:
        """The model in the slot, as it was when it was loaded."""
        return None if self.slot.loaded is None else self.slot.loaded.model

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _forget(self, session: ServiceSession) -> None:
        """The session is closed: end its episode on the model."""
        executor, episode = session.lease.replica.executor, session.pipeline.session
        self.sessions.pop(session.id, None)
        # Not now: what is being delivered of it at this moment is told after that.
        asyncio.get_running_loop().call_soon(self.observers.ended, session.id)
        executor.post(episode.close, "ending an episode")
        executor.forget(session.pipeline)


def _log_progress() -> OnProgress:
    sparse = Sparse(lambda status: log.info("%s", status))
    return lambda status: None if status is None else sparse(status)


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
        target, key = (for_codec, name.removeprefix(CODEC)) if name.startswith(CODEC) else (for_policy, name)
        if key in target:
            raise BadParameter(f"the session parameter {name} was given twice")
        target[key] = parse_value(text)
    return for_codec, for_policy


def _check_known(given: Iterable[str], policy: Policy[Any], codec: ResolvedCodec) -> None:
    known = [f.name for f in fields(policy.params)]
    for name in given:
        if name not in known:
            of_codec = (CODEC + f.name for f in fields(codec.options))
            raise BadParameter(unknown("session parameter", name, [*known, *of_codec]))
