"""What a vendor's protocol must be able to do, so that who asks over it need not know it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)


class Stale(ConnectionError):
    """What came answers an earlier question, so that this one is asked once more, over a new connection.

    For servers that remember nothing: there a question may be asked twice.
    """


class Wire(Protocol):
    """One open connection to a vendor's server. What else it can do only the vendor's own questions know.

    An answer is its own question's and never the next one's, however late it comes: a question tells the two apart, by
    a number that the answer repeats or by what the protocol has instead, and raises :class:`Stale`. ``usable`` alone
    cannot: it is asked before the question, and what is late comes after it.
    """

    def usable(self) -> bool:
        """Whether the next question may go over it: False where it broke, or something came that nobody asked for."""
        ...

    def close(self) -> None:
        """Close it at once, from any thread; who waits for something over it gets an OSError. Raises nothing."""
        ...


W = TypeVar("W", bound=Wire)
A = TypeVar("A")


def asked(usable: Callable[[], W], drop: Callable[[], None], question: Callable[[W], A]) -> A:
    """What ``question`` returns, of the connection that ``usable`` gives, or of a new one where that is Stale."""
    try:
        return question(usable())
    except Stale as error:
        log.warning("%s; that is not used, and it is asked anew", broken(error))
        drop()
        return question(usable())


def timed_out(error: OSError) -> bool:
    """Whether a wait of ours ended, rather than the network's own, after which the connection is broken."""
    return isinstance(error, TimeoutError) and error.errno is None


def broken(error: OSError) -> str:
    """How a connection broke, or was not made."""
    return error.strerror or str(error) or type(error).__name__


__all__ = ["Stale", "Wire", "asked", "broken", "timed_out"]
