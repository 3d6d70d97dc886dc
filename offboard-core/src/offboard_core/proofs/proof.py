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

from offboard_client.errors import LoadFailed, ModelLost, OffboardError, told

from ..types import Chunk, InferContext, Item, Policy, ReportProgress, Session
from .difference import Answers, differ, farthest
from .fast_call import FastCall
from .trials import TASK, Trial

log = logging.getLogger(__name__)

#: How much is said of one problem.
_SAID = 300
#: How many observations are asked once more when all is compiled.
_AGAIN = 2

#: For how many robots, in words, and which kinds of calls they were.
Passed = tuple[int, str, frozenset[Hashable]]


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
    faster one that remembers what it was asked before is found out. When all is compiled each is asked once more: one
    that another disturbs is found out, too. ``how``: what makes it faster, in a word.

    Slow, for it compiles; to be called by a loader, on its thread. ``report`` is told of each step; what it raises
    leaves. Where the faster model fails later, the proof says so from then on, and so does ``policy.meta``.
    Raises LoadFailed where the faster model broke the device, so that nothing can be asked any more.
    """
    proof = Proof(how, tolerance)
    passed: list[_Passed] = []
    for trial in trials:
        where = _named(trial)
        try:
            with _Episodes(policy, trial, report, clock) as episodes:
                plain, apart, speedup = _tried(episodes, call, where, how, tolerance)
            if not apart <= tolerance:
                raise _Unfit(differ(apart, tolerance))
            if not (kinds := call.judge(proven=True)):
                raise _Unfit("it was not asked, or was wrong at another task of the same length")
        except _Unfit as unfit:
            call.judge(proven=False)
            proof.refuse(f"{where}: {unfit}")
            continue
        # Not all of it: pictures for many robots are large.
        passed.append(_Passed(Trial(trial.steps[:_AGAIN]), where, kinds, plain[:_AGAIN], apart, speedup))
    for one in passed:
        # A later trial may have refused what an earlier one had passed.
        if not one.kinds <= call.proven:
            continue
        try:
            with _Episodes(policy, one.trial, report, clock) as episodes:
                one.apart = max(one.apart, _once_more(episodes, call, one, tolerance))
        except _Unfit as unfit:
            call.refuse(one.kinds)
            proof.refuse(f"{one.where}, once all else was compiled: {unfit}")
    if used := [one for one in passed if one.kinds <= call.proven]:
        proof.difference, proof.speedup = max(one.apart for one in used), used[0].speedup
    # Not the trials: pictures for many robots are large, and this is kept.
    kept: list[Passed] = [(one.trial.batch_size, one.where, one.kinds) for one in used]
    proof.batch_sizes = _sizes(kept, call)
    if proof.used:
        _tell(proof)
    elif not proof.problems:
        proof.refuse("nothing was tried")
    _keep_true(proof, kept, call, policy)
    return proof


def _sizes(passed: Iterable[Passed], call: FastCall) -> list[int]:
    return sorted({size for size, _, kinds in passed if kinds <= call.proven})


def _keep_true(proof: Proof, passed: Sequence[Passed], call: FastCall, policy: Policy[Any]) -> None:
    """Have ``proof``, and what the policy says of it, say what is the case when ``call`` gives a kind up."""
    asked = weakref.ref(policy)  # which holds the call, and is to go when nobody holds it

    def given_up(kind: Hashable, error: Exception) -> None:
        proof.batch_sizes = _sizes(passed, call)
        for where in dict.fromkeys(where for _, where, kinds in passed if kind in kinds):
            proof.refuse(f"{where}: it failed while a robot waited: {_line(error)}")
        # A new map, whole: who opens a session looks at it from another thread. One that cannot be set says nothing.
        if (told := asked()) is not None and "compiled" in told.meta:
            with contextlib.suppress(AttributeError):
                told.meta = {**told.meta, "compiled": proof.meta()}

    call.when_given_up = given_up


def _named(trial: Trial) -> str:
    robots = f"{trial.batch_size} robots" if trial.batch_size > 1 else "one robot"
    task = trial.steps[0][0].get("task", TASK)
    return f"for {robots} in a call" + ("" if task == TASK else f" with the task {task!r:.60}")


def _tried(
    episodes: _Episodes, call: FastCall, where: str, how: str, tolerance: float
) -> tuple[Answers, float, float | None]:
    """What the model answers, how far the faster one is from it, and how many times as fast.

    Raises _Unfit and LoadFailed.
    """
    with call.as_it_is():
        plain = episodes.asked("the model as it is", f"asking the model as it is, {where}")
        again = episodes.asked("the model as it is", f"asking the model as it is, {where}")
        slow = episodes.quickest
    if (apart := farthest(plain, again)) > tolerance:
        raise _Unfit(f"the model as it is differs from itself by {apart:.3g} with the same seeds")
    compiling = f"compiling ({how}) {where}, which may take minutes; if it never ends, serve without --compile"
    with call.trying():
        fast = episodes.asked("what was compiled", compiling, call)
        repeated = episodes.asked("what was compiled", f"asking what was compiled, {where}", call)
        took = episodes.quickest
    apart = max(farthest(plain, fast), farthest(plain, repeated))
    return plain, apart, round(slow / took, 2) if took > 0 else None


def _once_more(episodes: _Episodes, call: FastCall, one: _Passed, tolerance: float) -> float:
    """How far it is now, asked as robots will ask it: what was compiled after it may have gone to what it reads.

    Raises _Unfit and LoadFailed.
    """
    failed: list[str] = []
    call.when_given_up = lambda kind, error: failed.append(_line(error))
    answers = episodes.asked("what was compiled", f"asking what was compiled once more, {one.where}")
    if failed:
        raise _Unfit(f"what was compiled failed: {failed[0]}")
    if not (apart := farthest(one.plain, answers)) <= tolerance:
        raise _Unfit(differ(apart, tolerance))
    return apart


@dataclass
class _Passed:
    """What has passed: the beginning of its ``trial``, and what the model as it is answers to that."""

    trial: Trial
    where: str
    kinds: frozenset[Hashable]
    plain: Answers
    apart: float
    speedup: float | None


class _Episodes:
    """The sessions of a trial, which are asked all of it again and again, from its beginning.

    ``quickest``: seconds of the quickest call the last time; of several one that nothing else has held up.
    """

    def __init__(self, policy: Policy[Any], trial: Trial, report: ReportProgress, clock: Callable[[], float]) -> None:
        self._policy, self._trial, self._report, self._clock = policy, trial, report, clock
        self.quickest = math.inf
        self._sessions: list[Session] = []

    def __enter__(self) -> _Episodes:
        for _ in range(self._trial.batch_size):
            self._sessions.append(self._policy.new_session(self._policy.params()))
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._sessions:
            session.close()

    def asked(self, what: str, doing: str, call: FastCall | None = None) -> Answers:
        """The answers of all steps. Raises _Unfit where one is none, and where ``call`` has failed meanwhile.

        ``doing``: told at each of them, for a large model may take a minute for one.
        """
        for session in self._sessions:
            session.reset()
        answers: Answers = []
        self.quickest = math.inf
        for step in range(len(self._trial.steps)):
            self._report(doing)
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


def _line(error: BaseException) -> str:
    text = error.text if isinstance(error, OffboardError) else told(error)
    return text.strip().partition("\n")[0]


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
