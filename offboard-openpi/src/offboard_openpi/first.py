"""A server's first inference, which shows that it serves what its config says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .checks import Checks
from .connection import Connection

#: Seconds that one look at the answer takes.
_LOOK = 0.1


class FirstInference:
    """Asks one synthetic observation of a server that starts.

    Afterwards ``metadata`` is what its policy says of itself, and ``reply`` what it answered, None where nobody knows
    what its config takes.
    """

    def __init__(self, checks: Checks) -> None:
        self.metadata: Mapping[str, Any] = {}
        self.reply: dict[str, Any] | None = None
        self._synthetic = checks.synthetic()
        self._checks = checks

    def answered(self, connection: Connection) -> bool:
        """Whether it has answered. Raises an OffboardError for an answer that is wrong, a ConnectionError for none."""
        reply = None
        if self._synthetic is not None:
            if not connection.busy:
                connection.send(self._synthetic)
            reply = connection.receive(_LOOK)
            if reply is None:
                return False
            self._checks.actions(reply)
        self.metadata, self.reply = connection.metadata, reply
        return True
