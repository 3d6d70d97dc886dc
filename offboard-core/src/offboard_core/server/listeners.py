"""The listeners of one server: started and ended with it, and none of them able to take it along."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from offboard_client.errors import ConfigurationError, InferTimeout, ModelNotFound, OffboardError, told
from offboard_client.protocol import bracketed

from ..engine import PolicyService
from ..frontends import Admission, Listener, contained_async

log = logging.getLogger(__name__)

#: Seconds that a listener may take to start, and to close.
START, CLOSE = 10.0, 2.0


class Listeners:
    """``listeners``: each with the port that it is to listen on, by name."""

    def __init__(self, listeners: Mapping[str, tuple[Listener, int]] | None = None) -> None:
        self._listeners = dict(listeners or {})
        #: Where each listens, once it does.
        self.addresses: dict[str, tuple[str, int]] = {}
        self._failures: dict[str, str] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._drains: list[asyncio.Task[None]] = []
        self._closings: dict[str, asyncio.Task[None]] = {}

    async def start(self, service: PolicyService, admission: Admission, host: str) -> None:
        """Have all of them listen on ``host``, a numeric address.

        Raises ConfigurationError for one that cannot, or whose model is none of the server's; :meth:`close` ends the
        others then, too.
        """
        for name, (listener, _) in self._listeners.items():
            if listener.model_id is not None:
                await _check_model(name, listener.model_id, service)
        for name, (listener, port) in self._listeners.items():
            self.addresses[name] = host, port
            self.addresses[name] = host, await _start(name, listener, service, admission, host, port)
            watch = self._watches[name] = asyncio.ensure_future(contained_async(listener.wait))
            watch.add_done_callback(partial(self._ended, name))

    def drain(self) -> None:
        """Have them begin nothing any more."""
        if self._drains:
            return
        for name in self.addresses.keys() - self._closings.keys():
            self._drains.append(_ending(f"draining the listener {name}", self._listeners[name][0].drain))

    @property
    def owes(self) -> bool:
        """Whether one of them still has to answer somebody; after :meth:`drain`."""
        return not all(drain.done() for drain in self._drains)

    async def close(self) -> None:
        """End all of them. One that does not end is left as it is, and logged."""
        for task in (*self._watches.values(), *self._drains):
            task.cancel()
        for name in self.addresses.keys() - self._closings.keys():
            self._close(name)
        left = {name: closing for name, closing in self._closings.items() if not closing.done()}
        if left:
            await asyncio.wait(left.values(), timeout=CLOSE)
        for name, closing in left.items():
            if not closing.done():
                log.error("the listener %s did not close within %g s; it is left as it is", name, CLOSE)
                closing.cancel()
        for kept in (self.addresses, self._failures, self._watches, self._drains, self._closings):
            kept.clear()

    def status(self) -> dict[str, Any]:
        """Plain data for ``/api/v1/status``."""
        return {
            name: {"host": host, "port": port, "failure": self._failures.get(name)}
            for name, (host, port) in self.addresses.items()
        }

    def _ended(self, name: str, watch: asyncio.Task[None]) -> None:
        error = None if watch.cancelled() else watch.exception()
        if name in self.addresses and name not in self._closings:
            self._failures[name] = told(error) if error is not None else "it has ended, and nobody asked it to"
            log.error("the listener %s listens no more: %s", name, self._failures[name], exc_info=error)
            self._close(name)

    def _close(self, name: str) -> None:
        self._closings[name] = _ending(f"closing the listener {name}", self._listeners[name][0].close)


async def _check_model(name: str, model_id: str, service: PolicyService) -> None:
    try:
        await service.catalog.resolve(model_id)
    except ModelNotFound as error:
        raise ConfigurationError(f"the model of the listener {name}: {error.text}") from None
    except OffboardError as error:  # a place that cannot be looked at now, which its clients are told
        log.warning("the model %s of the listener %s is not known yet: %s", model_id, name, error.text)


async def _start(
    name: str, listener: Listener, service: PolicyService, admission: Admission, host: str, port: int
) -> int:
    starting = asyncio.ensure_future(contained_async(listener.start, service, admission, host, port))
    try:
        await asyncio.wait({starting}, timeout=START)
        if not starting.done():
            raise InferTimeout(f"it did not listen within {START:g} s")
        return starting.result()
    except Exception as error:
        log.debug("the listener %s cannot start", name, exc_info=error)
        raise ConfigurationError(
            f"the listener {name} cannot listen on {bracketed(host)}:{port}: "
            f"{error.text if isinstance(error, OffboardError) else told(error)}. "
            f"Another port is --listen {name}:PORT (0 takes a free one)"
        ) from None
    finally:
        starting.cancel()


def _ending(what: str, ending: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    async def end() -> None:
        """Nobody's end is in the way of another's."""
        try:
            await contained_async(ending)
        except Exception:
            log.exception("%s failed", what)

    return asyncio.ensure_future(end())
