"""Protocols that are no WebSocket: each listens by itself, and lives and ends with the server."""

from __future__ import annotations

import abc
import asyncio

from ..engine import PolicyService
from .admission import Admission


class Listener(abc.ABC):
    """What the factory of a :class:`~offboard_core.ListenerEntry` makes, once per server. All runs on its event loop.

    The server calls :meth:`start`, awaits :meth:`wait` as long as it serves, and when it ends :meth:`drain` and
    :meth:`close`; after that it may be started again. :class:`PeerSessions` has the sessions of its clients, and
    what a listener need not write itself.
    """

    #: The model that all its clients get, where it was told one: the server starts only if there is such a model.
    model_id: str | None = None

    @abc.abstractmethod
    async def start(self, service: PolicyService, admission: Admission, host: str, port: int) -> int:
        """Listen on ``host``, a numeric address, and ``port``, 0 for a free one; the port that it became.

        The sources of models are known, though none need be loaded. Whatever it raises keeps the server from starting.
        """

    async def wait(self) -> None:
        """Return, or raise why, when it listens no more, though nobody has closed it; cancelled before it is closed.

        Here it never does. Such an end is logged and told in ``/api/v1/status``; everything else goes on.
        """
        await asyncio.Future[None]()

    @abc.abstractmethod
    async def drain(self) -> None:
        """Begin nothing any more; return when everybody is answered. Cancelled where that takes too long."""

    @abc.abstractmethod
    async def close(self) -> None:
        """End every session and let go of the port, within two seconds.

        Called once for each start, though that may have failed, been cancelled or ended by itself since.
        """
