"""How far a load is, as text that a bar can be drawn from."""

from __future__ import annotations

from collections.abc import Callable

#: Tells whoever waits what a slow load is doing; a :class:`Progress` also how far it is. For any thread.
#: Each call is a sign of life: --load-timeout counts from the last one. Whoever repeats it in a loop bounds that loop.
ReportProgress = Callable[[str], None]


class Progress(str):
    """What a loader gives its ``report`` when it knows sizes; for whoever knows only text, a text.

    ``phase``: what is being done, without numbers. ``done`` of ``total`` bytes.
    """

    phase: str
    done: int
    total: int

    def __new__(cls, phase: str, done: int, total: int) -> Progress:
        """The text says it all: ``fetching act: 1.20 GB of 3.40 GB (35 %)``."""
        share = f" ({100 * done / total:.0f} %)" if total else ""
        made = super().__new__(cls, f"{phase}: {sized(done)} of {sized(total)}{share}")
        made.phase, made.done, made.total = phase, done, total
        return made


def sized(size: int) -> str:
    """Bytes for people: ``1.20 GB``, ``3.4 MB``."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
