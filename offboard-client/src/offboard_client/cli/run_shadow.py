"""``offboard run … --shadow SERVER``: a second model that is asked the same and drives nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from ..play import Agreement, Bounded, Shadow, ShadowAnswer


@contextmanager
def shadowed(
    server: str | None, told: Callable[[ShadowAnswer], None] | None = None
) -> Generator[tuple[Bounded, Agreement] | None, None, None]:
    """What asks ``server`` the same on a thread of its own, and how far it agrees so far; None for no server.

    ``told``: what it answers, on its thread.
    """
    if server is None:
        yield None
        return
    shadow = Shadow(server, told)
    with shadow.watching() as bounded:
        yield bounded, shadow.agreement
