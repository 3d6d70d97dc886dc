"""What codecs and policies promise of the time that they take."""

from __future__ import annotations

from typing import Any, ClassVar


class MayBlock:
    """``blocking`` False: all of it takes microseconds, whatever it is given, and waits for nothing.

    No lock, no disk, no network, no GPU, and no pixel of an image is touched. A policy and a codec that both say so are
    asked on the server's event loop, which saves two hops between threads; all else keeps the promise from being kept,
    and is told in the log. A subclass that writes one of ``promised`` anew has to say it anew.
    """

    blocking: bool = True
    promised: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "blocking" not in cls.__dict__ and cls.__dict__.keys() & cls.promised:
            cls.blocking = True
