"""A function of a model in two forms, one of them faster."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Hashable, Iterable
from typing import Any, Literal

log = logging.getLogger(__name__)


class FastCall:
    """Stands in for ``eager``, a function of a model, and has a faster one answer the calls that that was proven for.

    ``make(kind)``: the faster function for calls of one kind, made when the first of them is tried; it may compile at
    its first calls. ``kind``: of the arguments of a call, all that makes it another program to a compiler: shapes,
    dtypes, numbers that decide how often a loop is run; None for a call that is never to be fast. A call of a kind that
    was not proven is answered by ``eager``: nothing is compiled while robots wait.
    For the thread of its policy alone. Both functions must leave alone what they are given, and remember nothing.
    """

    def __init__(
        self,
        eager: Callable[..., Any],
        make: Callable[[Hashable], Callable[..., Any]],
        kind: Callable[..., Hashable | None],
    ) -> None:
        self._eager, self._make, self._kind = eager, make, kind
        self._programs: dict[Hashable, Callable[..., Any]] = {}
        self._proven: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._tried: set[Hashable] = set()
        self._mode: Literal["proven", "eager", "trying"] = "proven"
        self.failure: Exception | None = None
        #: Told of a kind that is proven no more, and why: the faster function has failed while a robot waited.
        self.when_given_up: Callable[[Hashable, Exception], None] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What ``eager`` answers, or the faster function in its place."""
        if self._mode == "eager" or (self._mode == "proven" and not self._proven):
            return self._eager(*args, **kwargs)
        kind = self._kind(*args, **kwargs)
        if self._mode == "trying":
            return self._try(kind, args, kwargs)
        if kind not in self._proven:
            return self._eager(*args, **kwargs)
        try:
            return self._programs[kind](*args, **kwargs)
        except Exception as error:
            log.exception("what was compiled failed, and is not asked any more: the model answers as it is")
            self.refuse({kind})
            if self.when_given_up is not None:
                self.when_given_up(kind, error)
        # Not above: an error keeps what the failed call had made, and this one may need the room.
        return self._eager(*args, **kwargs)

    @contextlib.contextmanager
    def as_it_is(self) -> Generator[None, None, None]:
        """Within it all calls are answered by ``eager``."""
        with self._in("eager"):
            yield

    @contextlib.contextmanager
    def trying(self) -> Generator[None, None, None]:
        """Within it calls are answered by the faster function, until it fails: :attr:`failure` is why.

        What is tried counts for nothing until :meth:`judge`.
        """
        with self._in("trying"):
            yield

    @property
    def is_tried(self) -> bool:
        """Whether this is :meth:`trying`: the faster function may take its time, and compile."""
        return self._mode == "trying"

    @property
    def proven(self) -> frozenset[Hashable]:
        """The kinds of calls that the faster function answers."""
        return frozenset(self._proven)

    def judge(self, *, proven: bool) -> frozenset[Hashable]:
        """Decide about what was tried since the last judgement: the kinds that are proven now, none where one is not.

        A kind that was refused once stays so: the same program has answered wrongly.
        """
        tried, self._tried, self.failure = frozenset(self._tried), set(), None
        if proven:
            self._proven |= tried
            return tried
        self.refuse(tried)
        return frozenset()

    def refuse(self, kinds: Iterable[Hashable]) -> None:
        """Have ``eager`` answer calls of these kinds for ever."""
        for kind in kinds:
            self._refused.add(kind)
            self._proven.discard(kind)
            self._programs.pop(kind, None)

    def _try(self, kind: Hashable | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kind is None or kind in self._refused or self.failure is not None:
            return self._eager(*args, **kwargs)
        self._tried.add(kind)
        try:
            if kind not in self._programs:
                self._programs[kind] = self._make(kind)
            return self._programs[kind](*args, **kwargs)
        except Exception as error:
            self.failure = error
            raise

    @contextlib.contextmanager
    def _in(self, mode: Literal["eager", "trying"]) -> Generator[None, None, None]:
        before, self._mode = self._mode, mode
        try:
            yield
        finally:
            self._mode = before


__all__ = ["FastCall"]
