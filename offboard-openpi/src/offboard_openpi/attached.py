"""An openpi server that somebody else runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from offboard_client.errors import InferTimeout, LoadFailed, ModelLost, OffboardError, PolicyFailed
from offboard_core.types import Report

from .checks import Checks
from .connection import Connection, Lost, Unreachable

#: Seconds between two words about an answer that is waited for.
_LOOK = 0.25


class Attached:
    """The socket to a server at ``url``; opened anew after each of openpi's errors. For one thread."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: Connection | None = None
        self._said: str | bytes = b""

    def open(
        self, checks: Checks, startup_timeout: float, report: Report
    ) -> tuple[Mapping[str, Any], dict[str, Any] | None]:
        """Connect and ask once: the policy's metadata and its first reply (None for an unknown config).

        Raises LoadFailed: permanent where nobody is to be attached to.
        """
        deadline, nobody = time.monotonic() + startup_timeout, False
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
            nobody = True
            problem = f"nobody to attach to: {error}. Start openpi's serve_policy.py there, or correct --attach"
        except Lost as error:
            problem = f"{self._url} broke the connection in its first inference: {error}"
        except OffboardError as error:
            problem = (
                f"{self._url} failed its first inference: {error.text}; is --config-name the config that it serves?"
            )
        self.close()
        raise LoadFailed(problem, permanent=nobody)

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`~offboard_openpi.policy.Backing`."""
        try:
            if self._connection is None or not self._connection.usable():
                self.close()
                self._connection = Connection(self._url)
                if self._connection.said != self._said:
                    self.close()
                    raise ModelLost(f"{self._url} serves another policy now, its metadata say; open a new session")
            return self._connection.ask(inputs, self._timeout)
        except Unreachable as error:
            raise PolicyFailed(f"openpi cannot be reached, try again later: {error}") from None
        except Lost as error:
            self.close()
            raise PolicyFailed(f"the connection to openpi broke in mid-inference: {error}") from None
        except (PolicyFailed, InferTimeout):
            self.close()
            raise

    def close(self) -> None:
        """Close the socket; the server goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
