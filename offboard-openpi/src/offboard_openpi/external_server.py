"""An openpi server that others start and stop; we attach to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from offboard_client.errors import InferTimeout, LoadFailed, ModelLost, OffboardError, PolicyFailed
from offboard_core.types import Health, ReportProgress

from .checks import Checks
from .connection import OPEN_TIMEOUT, Connection, Lost, Unreachable, ask

#: Seconds between two words about an answer that is waited for.
_LOOK = 0.25
#: Seconds between two looks at a server that is not asked.
EVERY = 1.0

log = logging.getLogger(__name__)


class ExternalServer:
    """The socket to a server at ``url``; opened anew after each of openpi's errors.

    For one thread; :meth:`close` and :meth:`health` are for any.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: Connection | None = None
        self._said: str | bytes = b""
        self._health = Health()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def open(
        self, checks: Checks, startup_timeout: float, report: ReportProgress
    ) -> tuple[Mapping[str, Any], dict[str, Any] | None]:
        """Connect and ask once: the policy's metadata and its first reply (None for an unknown config).

        Raises LoadFailed: permanent where there is no server to attach to.
        """
        deadline, absent = time.monotonic() + startup_timeout, False
        try:
            connection = self._connection = Connection(self._url, min(startup_timeout, 30.0))
            self._said = connection.said
            synthetic = checks.synthetic()
            if synthetic is None:
                return connection.metadata, None
            connection.send(synthetic)
            while (reply := connection.receive(_LOOK)) is None:
                if time.monotonic() > deadline:
                    raise InferTimeout(f"it did not answer within {startup_timeout:g} s (--startup-timeout)")
                report(f"waiting for the first answer of {self._url}")
            checks.actions(reply)
            return connection.metadata, reply
        except Unreachable as error:
            absent = True
            problem = f"no server to attach to: {error}. Start openpi's serve_policy.py there, or correct --attach"
        except Lost as error:
            problem = f"{self._url} broke the connection in its first inference: {error}"
        except OffboardError as error:
            problem = (
                f"{self._url} failed its first inference: {error.text}; is --config-name the config that it serves?"
            )
        self.close()
        raise LoadFailed(problem, permanent=absent)

    def watch(self) -> None:
        """From now on look after the server, and for it while it is gone, whether it is asked or not."""
        threading.Thread(target=self._watch, name="offboard-openpi", daemon=True).start()

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`~offboard_openpi.policy.Backing`."""
        # The watcher holds it for moments, but for as long as a connection may take where none answers.
        if not self._lock.acquire(timeout=EVERY if self._health.reason else OPEN_TIMEOUT):
            raise PolicyFailed(f"{self._health.reason or 'openpi is being connected to'}; try again later")
        try:
            return ask(self._connected, self._drop, inputs, self._timeout)
        except Unreachable as error:
            raise PolicyFailed(f"openpi cannot be reached, try again later: {error}") from None
        except Lost as error:
            self._gone(f"the connection to openpi broke in mid-inference: {error}")
            raise PolicyFailed(f"{self._health.reason}; try again later") from None
        except InferTimeout as error:
            self._gone(error.text)
            raise
        except PolicyFailed:
            self._drop()  # openpi closes its socket after each error
            raise
        finally:
            self._lock.release()

    def health(self) -> Health:
        """As :meth:`Policy.health`: what the last look at the server showed."""
        return self._health

    def close(self) -> None:
        """Close the socket; the server goes on."""
        self._closed.set()
        self._drop()

    # -- by whoever holds the lock ------------------------------------------------------------------------------
    def _connected(self) -> Connection:
        """The open socket, or a new one to the same policy. Raises Unreachable, ModelLost."""
        if self._connection is None or not self._connection.usable():
            self._drop()
            try:
                connection = Connection(self._url)
            except Unreachable as error:
                self._gone(f"openpi cannot be reached: {error}")
                raise
            if connection.said != self._said:
                connection.close()
                self._health = Health("failed", f"{self._url} serves another policy now, its metadata say")
                raise ModelLost(f"{self._health.reason}; open a new session")
            self._connection = connection
            if self._closed.is_set():
                self._drop()
                raise Unreachable("the server is going away")
        self._health = Health()
        return self._connection

    def _gone(self, reason: str) -> None:
        self._drop()
        self._health = Health("recovering", reason)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- the watcher --------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        while self._health.state != "failed" and not self._closed.wait(EVERY):
            if self._lock.acquire(blocking=False):  # if an inference is under way, that will tell
                try:
                    self._connected()
                except (Unreachable, ModelLost):
                    pass  # it stands in the health
                except Exception:
                    log.exception("looking after openpi failed")
                finally:
                    self._lock.release()
