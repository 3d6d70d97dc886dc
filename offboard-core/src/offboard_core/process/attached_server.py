"""A vendor's server that others start and stop; we attach to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from offboard_client.errors import InferTimeout, LoadFailed, ModelLost, OffboardError, PolicyFailed, told

from ..types import Health, ReportProgress
from .wire import Wire, asked, broken, timed_out

W = TypeVar("W", bound=Wire)
A = TypeVar("A")

#: Seconds between two words about an answer that is waited for.
_LOOK = 0.25
#: Seconds between two looks at a server that is not asked.
EVERY = 1.0
#: Seconds for a connection to a server that is there, and for the first one.
_OPEN_SECONDS, _FIRST_SECONDS = 10.0, 30.0

log = logging.getLogger(__name__)


class AttachedServer(Generic[W]):
    """The connection to a server that runs already; made anew after each error.

    :meth:`ask` is for one thread at a time; :meth:`health` and :meth:`close` are for any.
    """

    def __init__(
        self,
        connect: Callable[[float], W],
        probe: Callable[[W], bool],
        identity: Callable[[W], object],
        explain: Callable[[str], LoadFailed],
        *,
        name: str,
        address: str,
        startup_timeout: float,
    ) -> None:
        """Nothing happens before :meth:`open`. ``name``, ``address``: what errors call the server and where it is.

        ``connect``: a connection within so many seconds, or an OSError. ``probe``: as for :class:`ChildServer`.
        ``identity``: what the server says of its model; where that changes, it serves another one. ``explain``: from
        how the opening failed to an error with the likely cause and the next step; it raises nothing.
        ``startup_timeout``: seconds until ``probe`` is content.
        """
        self._connect, self._probe, self._identity, self._explain = connect, probe, identity, explain
        self._name, self._address, self._startup_timeout = name, address, startup_timeout
        self._wire: W | None = None
        self._said: object = None
        self._health = Health()
        self._lost: str | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def open(self, report: ReportProgress) -> None:
        """Connect, and wait until ``probe`` is content.

        Raises LoadFailed: permanent where there is no server to attach to.
        """
        deadline, absent = time.monotonic() + self._startup_timeout, True
        try:
            wire = self._wire = self._connect(min(self._startup_timeout, _FIRST_SECONDS))
            self._said, absent = self._identity(wire), False
            while not self._probe(wire):
                if time.monotonic() > deadline:
                    raise InferTimeout(f"it did not answer within {self._startup_timeout:g} s")
                report(f"waiting for the first answer of {self._address}")
                self._closed.wait(_LOOK)
            return
        except OSError as error:
            problem = (
                f"no server to attach to: {broken(error)}"
                if absent
                else f"{self._address} broke the connection in its first inference: {broken(error)}"
            )
        except OffboardError as error:
            if isinstance(error, LoadFailed) and error.permanent:  # which says itself what to do
                self.close()
                raise
            problem = f"{self._address} failed its first inference: {error.text}"
        except BaseException:
            self.close()
            raise
        self.close()
        raise LoadFailed(self._explain(problem).text, permanent=absent)

    def watch(self) -> None:
        """From now on look after the server, and for it while it is gone, whether it is asked or not."""
        threading.Thread(target=self._watch, name=f"offboard-{self._name}", daemon=True).start()

    def ask(self, question: Callable[[W], A]) -> A:
        """What ``question`` returns, as :meth:`ChildServer.ask`, but for the restarts: others see to those.

        Raises ModelLost where the server has come back with another model.
        """
        # The watcher holds it for moments, but for as long as a connection may take where none answers.
        if not self._lock.acquire(timeout=EVERY if self._health.reason else _OPEN_SECONDS):
            raise PolicyFailed(f"{self._health.reason or f'{self._name} is being connected to'}; try again later")
        try:
            return asked(self._connected, self._drop, question)
        except InferTimeout as error:
            self._gone(error.text)
            raise
        except OSError as error:
            if timed_out(error):
                self._gone(f"{self._name} did not answer in time")
                raise InferTimeout(self._health.reason) from None
            self._gone(f"the connection to {self._name} broke in mid-inference: {broken(error)}")
            raise PolicyFailed(f"{self._health.reason}; try again later") from None
        except BaseException:
            self._drop()
            raise
        finally:
            self._lock.release()

    def lose(self, reason: str) -> None:
        """An answer shows that it serves another model, which the server does not say itself: for no open session."""
        self._lost = reason

    def health(self) -> Health:
        """As :meth:`Policy.health`: what the last look at the server, or an answer, showed."""
        return self._health if self._lost is None else Health("failed", self._lost)

    def elsewhere(self) -> None:
        """As :meth:`Policy.elsewhere`: its process is whoever's started it, and may be another machine's."""

    def close(self) -> None:
        """Close the connection; the server goes on."""
        self._closed.set()
        self._drop()

    # -- by whoever holds the lock ------------------------------------------------------------------------------
    def _connected(self) -> W:
        """The open connection, or a new one to the same model. Raises PolicyFailed, ModelLost."""
        if self._lost is not None:
            raise ModelLost(f"{self._lost}; open a new session")
        wire = self._wire  # which close() takes away at any time
        if wire is None or not wire.usable():
            self._drop()
            try:
                wire = self._connect(_OPEN_SECONDS)
            except OSError as error:
                self._gone(f"{self._name} cannot be reached: {broken(error)}")
                raise PolicyFailed(f"{self._name} cannot be reached, try again later: {broken(error)}") from None
            if not self._same(wire):
                wire.close()
                self._lost = f"{self._address} serves another policy now, its metadata say"
                raise ModelLost(f"{self._lost}; open a new session")
            self._wire = wire
            if self._closed.is_set():
                self._drop()
                raise PolicyFailed("the server is going away")
        self._health = Health()
        return wire

    def _same(self, wire: W) -> bool:
        """Whether it serves the same model still. Raises PolicyFailed where that cannot be told."""
        try:
            return self._identity(wire) == self._said
        except Exception as error:
            wire.close()
            why = broken(error) if isinstance(error, OSError) else told(error)
            self._gone(f"{self._name} does not say which model it serves: {why}")
            raise PolicyFailed(f"{self._health.reason}; try again later") from error

    def _gone(self, reason: str) -> None:
        self._drop()
        self._health = Health("recovering", reason)

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # -- the watcher --------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        while self._lost is None and not self._closed.wait(EVERY):
            if self._lock.acquire(blocking=False):  # if a question is under way, that will tell
                try:
                    self._connected()
                except (PolicyFailed, ModelLost):
                    pass  # it stands in the health
                except Exception:
                    log.exception("looking after %s failed", self._name)
                finally:
                    self._lock.release()


__all__ = ["AttachedServer"]
