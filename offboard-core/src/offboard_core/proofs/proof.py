"""Asks a policy the same with and without what was made faster, and says what came of it."""

from __future__ import annotations

import contextlib
import logging
import math
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from offboard_client.errors import LoadFailed, ModelLost, OffboardError, told

from ..types import Chunk, InferContext, Item, Policy, ReportProgress, Session
from .fast_call import FastCall
from .trials import Trial

log = logging.getLogger(__name__)

#: How much is said of one problem.
_SAID = 300

Answers = list[list[Chunk]]
#: For how many robots, and which kinds of calls they were.
Passed = list[tuple[int, frozenset[Hashable]]]


class _Unfit(Exception):
    """Why a trial proves nothing."""


@dataclass
class Proof:
    """What came of it. ``how``: what makes it faster, in a word; ``tolerance``: see :func:`prove`.

    ``batch_sizes``: for how many robots in a call the faster model is used; ``difference``: how far it was from the
    model as it is, at most, in the trials that it passed; ``speedup``: how many times as fast it answered the first of
    them, by the quickest call of each. ``problems``: why it is not used where it is not, each once.
    """

    how: str
    tolerance: float
    batch_sizes: list[int] = field(default_factory=list[int])
    difference: float = 0.0
    speedup: float | None = None
    problems: list[str] = field(default_factory=list[str])

    @property
    def used(self) -> bool:
        """Whether it is used for anything."""
        return bool(self.batch_sizes)

    def meta(self) -> dict[str, Any]:
        """Plain data for the handshake's ``compiled`` (M-28 of the protocol)."""
        said: dict[str, Any] = {"used": self.used, "how": self.how, "tolerance": self.tolerance}
        if self.used:
            said |= {"batch_sizes": self.batch_sizes, "difference": self.difference, "speedup": self.speedup}
        return {**said, "problems": [*self.problems]}

    def refuse(self, why: str) -> None:
        """Add a problem, and tell the log."""
        why = why if len(why) <= _SAID else f"{why[: _SAID - 1]}…"
        if why not in self.problems:
            self.problems.append(why)
        log.warning("what was compiled (%s) is not used: %s", self.how, why)


def prove(
    policy: Policy[Any],
    call: FastCall,
    trials: Iterable[Trial],
    *,
    how: str,
    tolerance: float = 0.0,
    report: ReportProgress,
    clock: Callable[[], float] = perf_counter,
) -> Proof:
    """Ask ``policy`` all trials with ``call`` as it is and with its faster form, and let it be used where they agree.

    ``tolerance``: how far any number of an action may be from the model's own, in that number's unit; 0: every number
    is the same. What is not finite is never the same. Each trial is asked twice in either form, each time in episodes
    of their own: a model that does not answer itself the same with the same seeds is compared with nothing, and a
    faster one that remembers what it was asked before is found out. ``how``: what makes it faster, in a word.

    Slow, for it compiles; to be called by a loader, on its thread. ``report`` is told of each step; what it raises
    leaves. Where the faster model fails later, the proof says so from then on, and so does ``policy.meta``.
    Raises LoadFailed where the faster model broke the device, so that nothing can be asked any more.
    """
    proof = Proof(how, tolerance)
    passed: Passed = []
    for trial in trials:
        robots = _robots(trial.batch_size)
        try:
            apart, speedup = _tried(policy, call, trial, robots, report, how, tolerance, clock)
            if not apart <= tolerance:
                raise _Unfit(_differ(apart, tolerance))
            if not (kinds := call.judge(proven=True)):
                raise _Unfit("it was not asked, or was wrong at another task of the same length")
        except _Unfit as unfit:
            call.judge(proven=False)
            proof.refuse(f"for {robots} in a call: {unfit}")
            continue
        passed.append((trial.batch_size, kinds))
        proof.difference = max(proof.difference, apart)
        proof.speedup = speedup if proof.speedup is None else proof.speedup
    # A later trial may have refused what an earlier one had passed.
    proof.batch_sizes = _sizes(passed, call)
    if proof.used:
        _tell(proof)
    elif not proof.problems:
        proof.refuse("nothing was tried")
    _keep_true(proof, passed, call, policy)
    return proof


def _sizes(passed: Passed, call: FastCall) -> list[int]:
    return sorted({size for size, kinds in passed if kinds <= call.proven})


def _keep_true(proof: Proof, passed: Passed, call: FastCall, policy: Policy[Any]) -> None:
    """Have ``proof``, and what the policy says of it, say what is the case when ``call`` gives a kind up."""
    asked = weakref.ref(policy)  # which holds the call, and is to go when nobody holds it

    def given_up(kind: Hashable, error: Exception) -> None:
        proof.batch_sizes = _sizes(passed, call)
        for size in sorted({size for size, kinds in passed if kind in kinds}):
            proof.refuse(f"for {_robots(size)} in a call: it failed while a robot waited: {_line(error)}")
        # A new map, whole: who opens a session looks at it from another thread. One that cannot be set says nothing.
        if (told := asked()) is not None and "compiled" in told.meta:
            with contextlib.suppress(AttributeError):
                told.meta = {**told.meta, "compiled": proof.meta()}

    call.when_given_up = given_up


def _tried(
    policy: Policy[Any],
    call: FastCall,
    trial: Trial,
    robots: str,
    report: ReportProgress,
    how: str,
    tolerance: float,
    clock: Callable[[], float],
) -> tuple[float, float | None]:
    """How far the faster model is from the model, and how many times as fast. Raises _Unfit and LoadFailed."""
    with _Episodes(policy, trial, clock) as episodes:
        report(f"asking the model as it is, for {robots}")
        with call.as_it_is():
            plain = episodes.asked("the model as it is")
            again = episodes.asked("the model as it is")
            slow = episodes.quickest
        if (apart := _apart(plain, again)) > tolerance:
            raise _Unfit(f"the model as it is differs from itself by {apart:.3g} with the same seeds")
        report(
            f"compiling ({how}) for {robots} in a call, which may take minutes; if it never ends, serve without "
            "--compile"
        )
        with call.trying():
            fast = episodes.asked("what was compiled", call)
            report(f"asking what was compiled, for {robots}")
            repeated = episodes.asked("what was compiled", call)
            took = episodes.quickest
    apart = max(_apart(plain, fast), _apart(plain, repeated))
    return apart, round(slow / took, 2) if took > 0 else None


class _Episodes:
    """The sessions of a trial, which are asked all of it again and again, from its beginning.

    ``quickest``: seconds of the quickest call the last time; of several one that nothing else has held up.
    """

    def __init__(self, policy: Policy[Any], trial: Trial, clock: Callable[[], float]) -> None:
        self._policy, self._trial, self._clock = policy, trial, clock
        self.quickest = math.inf
        self._sessions: list[Session] = []

    def __enter__(self) -> _Episodes:
        for _ in range(self._trial.batch_size):
            self._sessions.append(self._policy.new_session(self._policy.params()))
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            session.close()

    def asked(self, what: str, call: FastCall | None = None) -> Answers:
        """The answers of all steps. Raises _Unfit where one is none, and where ``call`` has failed meanwhile."""
        for session in self._sessions:
            session.reset()
        answers: Answers = []
        self.quickest = math.inf
        for step in range(len(self._trial.steps)):
            start = self._clock()
            try:
                found = self._step(step)
            except Exception as error:
                raise self._failed(what, call, error) from error
            if bad := next((one for one in found if isinstance(one, OffboardError)), None):
                raise self._failed(what, call, bad)
            if call is not None and call.failure is not None:  # the policy made up for it by itself
                raise self._failed(what, call, call.failure)
            chunks = [one for one in found if isinstance(one, Chunk) and len(one)]
            if len(chunks) != self._trial.batch_size:
                raise _Unfit(f"{what} answered no steps to an observation that was made up")
            answers.append(chunks)
            self.quickest = min(self.quickest, self._clock() - start)
        return answers

    def _step(self, step: int) -> Sequence[Chunk | OffboardError | None]:
        takes_seed = "seed" in self._policy.context
        items = [
            Item(session, inputs, InferContext(seed=self._trial.seed(step, i)) if takes_seed else InferContext())
            for i, (session, inputs) in enumerate(zip(self._sessions, self._trial.steps[step], strict=True))
        ]
        return [one.copy() if isinstance(one, Chunk) else one for one in self._policy.infer_many(items)]

    def _failed(self, what: str, call: FastCall | None, error: BaseException) -> Exception:
        if isinstance(error, ModelLost):
            return LoadFailed(f"{what} broke it: {error.text}. Serve without --compile", permanent=True)
        cause = error if call is None or call.failure is None else call.failure
        if call is not None:
            log.info("what was compiled failed", exc_info=cause)
        return _Unfit(f"{what} failed: {_line(cause)}")


def _apart(one: Answers, other: Answers) -> float:
    """The largest difference of two numbers; infinity where the answers have other shapes or are not finite."""
    pairs = ((a, b) for row, others in zip(one, other, strict=True) for a, b in zip(row, others, strict=True))
    return max(_chunks_apart(a, b) for a, b in pairs)


def _chunks_apart(one: Chunk, other: Chunk) -> float:
    first, second = one.columns(), other.columns()
    if first.keys() != second.keys() or (one.timestamp is None) != (other.timestamp is None):
        return math.inf
    if one.timestamp is not None and not np.array_equal(one.timestamp, np.asarray(other.timestamp)):
        return math.inf
    return max((_arrays_apart(first[name], second[name]) for name in first), default=math.inf)


def _arrays_apart(one: Any, other: Any) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        return math.inf
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return math.inf
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))


def _robots(size: int) -> str:
    return f"{size} robots" if size > 1 else "one robot"


def _line(error: BaseException) -> str:
    return told(error).strip().partition("\n")[0]


def _differ(apart: float, tolerance: float) -> str:
    if not math.isfinite(apart):
        return "its answers are of another shape, or not finite"
    allowed = f"and {tolerance:g} is allowed" if tolerance else "and no difference is allowed"
    return f"its answers differ by up to {apart:.3g}, {allowed} (--compile-tolerance)"


def _tell(proof: Proof) -> None:
    sizes = ", ".join(map(str, proof.batch_sizes))
    differ = f"differs by at most {proof.difference:.3g}" if proof.difference else "answers the same numbers"
    log.info(
        "what was compiled (%s) %s, and is used for calls of %s %s; %s times as fast",
        proof.how, differ, sizes, "robot" if sizes == "1" else "robots",
        "unknown" if proof.speedup is None else f"{proof.speedup:g}",
    )  # fmt: skip
    if proof.speedup is not None and proof.speedup < 1:
        log.warning("what was compiled (%s) is no faster than the model as it is: leave --compile away", proof.how)


__all__ = ["Proof", "prove"]
