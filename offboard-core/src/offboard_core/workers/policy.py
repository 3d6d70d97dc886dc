"""The likeness of a policy whose model is in a worker: whoever calls it need not know."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from offboard_client.errors import OffboardError, PolicyFailed

from ..types import Chunk, Control, Elsewhere, Health, InferContext, Item, Policy, Session
from .forms import chunk_in, class_in, context_out, error_in, values_out
from .worker import Worker

_BEGIN_ANEW = (
    "its worker was started again, and what the policy remembered of this episode is gone: reset the session, or open "
    "another"
)


class WorkerSession(Session):
    """One episode, which the worker knows by its number.

    An episode ends with the process that knew it: it is begun anew by :meth:`reset`, or unasked where the policy
    remembers none.
    """

    def __init__(self, policy: WorkerPolicy, params: Any) -> None:
        self.params = params
        self._policy = policy
        self._number = self._generation = 0
        #: The parameters that the worker goes by, None where that is not known, and those that were told to it last.
        self._known = self._told = params
        self._remembers = self._touched = False
        if policy.worker.runs():  # else it begins with its first observation
            self._begin()

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk | None:
        """See :meth:`Session.infer`."""
        answer = self._policy.worker.ask(["one", *self.told(inputs, context)], answered=True)
        self.heard()
        result = self._policy.result(answer)
        if isinstance(result, OffboardError):
            raise result
        return result

    def reset(self) -> None:
        """See :meth:`Session.reset`."""
        if self._generation == self._policy.worker.generation:
            self._policy.worker.ask(["reset", self._number])
        else:
            self._begin()

    def close(self) -> None:
        """See :meth:`Session.close`. Of a process that has ended there is nothing to release."""
        worker = self._policy.worker
        if self._generation == worker.generation and worker.runs():
            worker.ask(["end", self._number])

    def told(self, inputs: Mapping[str, Any], context: InferContext) -> list[Any]:
        """Its part of a question. Raises PolicyFailed where the episode has ended."""
        changed = self._changed()  # which may give it another number
        return [self._number, changed, dict(inputs), context_out(context)]

    def control(self, name: str, params: Any) -> Any:
        """What the control of this name answers."""
        changed = self._changed()
        self._touched = True
        answer = self._policy.worker.ask(["control", self._number, changed, name, values_out(params)])
        self.heard()
        return answer

    def heard(self) -> None:
        """The worker has answered what :meth:`told` was in: it goes by those parameters."""
        self._known = self._told

    def _changed(self) -> dict[str, Any] | None:
        """The parameters, if they are others than the worker has been told."""
        if self._generation != self._policy.worker.generation:
            if self._remembers or self._touched:
                raise PolicyFailed(_BEGIN_ANEW)
            self._begin()
        if self.params is self._known:
            return None
        self._known, self._told = None, self.params
        return values_out(self.params)

    def _begin(self) -> None:
        worker = self._policy.worker
        number, generation, params = self._policy.number(), worker.generation, self.params
        self._remembers = bool(worker.ask(["new", number, values_out(params)]))
        self._number, self._generation, self._touched = number, generation, False
        self._known = self._told = params


class WorkerPolicy(Policy[WorkerSession]):
    """A policy in a worker. Its attributes are what that one declares."""

    def __init__(self, worker: Worker, let_go: Callable[[], None]) -> None:
        """``worker``: one that is open. ``let_go``: called once it is closed.

        Raises ValueError, TypeError or LookupError for a declaration that cannot be.
        """
        self.worker, self._let_go, self._last = worker, let_go, 0
        declared: Any = worker.described
        self.max_batch_size, self.max_sessions = declared["max_batch_size"], declared["max_sessions"]
        self.max_delay_steps = declared["max_delay_steps"]
        self.context, self.history_sec = frozenset(declared["context"]), tuple(declared["history_sec"])
        self.history_steps, self.history_kept = tuple(declared["history_steps"]), declared["history_kept"] is True
        self.params = class_in(declared["params"])
        self.controls = {
            name: Control(summary=summary, params=class_in(params), answers=answers, run=partial(_control, name))
            for name, (summary, params, answers) in declared["controls"].items()
        }
        self._own_keys = declared["keys"] is True

    @property
    def meta(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]  # what holds by now
        """See :class:`Policy`."""
        assert self.worker.described is not None
        return self.worker.described["meta"]

    def new_session(self, params: Any) -> WorkerSession:
        """See :meth:`Policy.new_session`."""
        return WorkerSession(self, params)

    def check_params(self, params: Any) -> None:
        """See :meth:`Policy.check_params`: as the policy's own class sees it."""
        self.worker.ask(["check", values_out(params)])

    def infer_many(self, batch: Sequence[Item[WorkerSession]]) -> Sequence[Chunk | OffboardError | None]:
        """See :meth:`Policy.infer_many`: one question for all."""
        results: list[Chunk | OffboardError | None] = [None] * len(batch)
        asked: list[list[Any]] = []
        places: list[int] = []
        for i, item in enumerate(batch):
            try:
                asked.append(item.session.told(item.inputs, item.context))
                places.append(i)
            except OffboardError as error:
                results[i] = error
        if asked:
            answers = self.worker.ask(["infer", asked], answered=True)
            if not isinstance(answers, list) or len(cast("list[Any]", answers)) != len(asked):
                raise self.worker.garbled(f"no {len(asked)} answers")
            for i, answer in zip(places, cast("list[Any]", answers), strict=True):
                results[i] = result = self.result(answer)
                if not isinstance(result, OffboardError):
                    batch[i].session.heard()
        return results

    def batch_key(self, item: Item[WorkerSession]) -> Hashable:
        """See :meth:`Policy.batch_key`; a hop only where the policy has one of its own."""
        if not self._own_keys:
            return super().batch_key(item)
        return self.worker.ask(["key", *item.session.told(item.inputs, item.context)])

    def health(self) -> Health:
        """See :meth:`Policy.health`: a quarter of a second old at most."""
        return self.worker.health()

    def elsewhere(self) -> Elsewhere:
        """See :meth:`Policy.elsewhere`."""
        return self.worker.elsewhere()

    def close(self) -> None:
        """See :meth:`Policy.close`."""
        try:
            self.worker.close()
        finally:
            self._let_go()

    def number(self) -> int:
        """Of another session."""
        self._last += 1
        return self._last

    def result(self, told: Any) -> Chunk | OffboardError | None:
        """One answer. Raises PolicyFailed for what is none."""
        if told is None:
            return None
        try:
            return chunk_in(told) if told[0] == "chunk" else error_in(told)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise self.worker.garbled(f"what is no result: {error}") from None


def _control(name: str, session: WorkerSession, params: Any) -> Any:
    return session.control(name, params)


__all__ = ["WorkerPolicy", "WorkerSession"]
