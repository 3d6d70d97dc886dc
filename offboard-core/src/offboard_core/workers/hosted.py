"""The policy of a worker, and what is asked of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import is_dataclass
from typing import Any, cast

from offboard_client.errors import BadParameter, LoadFailed, OffboardError, PolicyFailed
from offboard_client.plugins import build

from ..types import Chunk, Item, Policy, Session, apart, raised
from .forms import chunk_out, class_out, context_in, error_out

log = logging.getLogger("offboard_core.workers")

#: How many batch keys are known by number: more than a server has sessions.
_KEYS = 4096


class Hosted:
    """One policy with its sessions, which the server knows by number. Answers are plain data and arrays.

    Raises LoadFailed for a policy that declares what cannot be told to another process.
    """

    def __init__(self, policy: Policy[Any]) -> None:
        self._policy = policy
        self._sessions: dict[int, Session] = {}
        self._keys: dict[Hashable, int] = {}
        self._numbered = 0
        self._compiled: Any = None
        self.closed = False
        self._told: dict[str, Callable[..., Any]] = {
            "infer": self._infer, "one": self._one, "new": self._new, "reset": self._reset, "end": self._end,
            "key": self._key, "control": self._control, "check": self._check, "shut": self._shut,
        }  # fmt: skip

    def described(self) -> dict[str, Any]:
        """What the policy declares, for its likeness in the server."""
        policy = self._policy
        for owner, params in {"params": policy.params, **{n: c.params for n, c in policy.controls.items()}}.items():
            if not (isinstance(cast("Any", params), type) and is_dataclass(params)):
                raise LoadFailed(f"the policy's {owner} is {params!r:.80}; expected a frozen dataclass")
        try:
            self._compiled = policy.meta.get("compiled")
            return {
                "max_batch_size": policy.max_batch_size,
                "max_sessions": policy.max_sessions,
                "max_delay_steps": policy.max_delay_steps,
                "history_sec": list(policy.history_sec),
                "history_steps": list(policy.history_steps),
                "history_kept": policy.history_kept,
                "context": sorted(policy.context),
                "meta": dict(policy.meta),
                "params": class_out(policy.params),
                "controls": {
                    name: [control.summary, class_out(control.params), dict(control.answers)]
                    for name, control in policy.controls.items()
                },
                "keys": overrides(policy, Policy, "batch_key"),
            }
        except Exception as error:
            raise LoadFailed(f"what the policy declares cannot be read: {type(error).__name__}: {error}") from error

    def answer(self, question: Any) -> list[Any]:
        """What the policy says to a question; what it raises is an answer, too."""
        try:
            return ["ok", self._told[question[0]](*question[1:]), *self._news()]
        except OffboardError as error:
            return error_out(error)
        # SystemExit included: a policy that leaves the program leaves its own call and nothing else.
        except BaseException as error:
            log.exception("the policy failed")
            return error_out(raised(error))

    # -- the questions ------------------------------------------------------------------------------------------
    def _infer(self, asked: list[list[Any]]) -> list[Any]:
        items, results = list[Item[Session]](), dict[int, Any]()
        for i, (number, params, inputs, context) in enumerate(asked):
            try:
                items.append(self._item(number, params, inputs, context))
            except OffboardError as error:
                results[i] = error_out(error)
        answers = list(self._policy.infer_many(items)) if items else []
        if len(answers) != len(items):
            raise PolicyFailed(f"infer_many answered {len(answers)} results to {len(items)} items")
        told = iter([_result(answer) for answer in (apart(answers) if len(answers) > 1 else answers)])
        return [results[i] if i in results else next(told) for i in range(len(asked))]

    def _one(self, number: int, params: Any, inputs: Mapping[str, Any], context: Any) -> Any:
        item = self._item(number, params, inputs, context)
        try:
            return _result(item.session.infer(item.inputs, item.context))
        except OffboardError:
            raise
        except BaseException as error:
            log.exception("the policy failed on one observation")
            raise raised(error, inputs) from None

    def _new(self, number: int, values: Mapping[str, Any]) -> bool:
        session = self._policy.new_session(self._params(values))
        self._sessions[number] = session
        return overrides(session, Session, "reset")

    def _reset(self, number: int) -> None:
        self._sessions[number].reset()

    def _end(self, number: int) -> None:
        self._sessions.pop(number).close()

    def _key(self, number: int, params: Any, inputs: Mapping[str, Any], context: Any) -> int:
        key = self._policy.batch_key(self._item(number, params, inputs, context))
        if key not in self._keys:
            if len(self._keys) >= _KEYS:
                self._keys.clear()  # the numbers go on: two robots may miss one batch, and share no wrong one
            self._numbered += 1
            self._keys[key] = self._numbered
        return self._keys[key]

    def _control(self, number: int, params: Any, name: str, values: Mapping[str, Any]) -> Any:
        session, control = self._session(number, params), self._policy.controls[name]
        answer = control.run(session, build(cast("type[Any]", control.params), values, f"the control {name}"))
        return None if answer is None else dict(answer)

    def _check(self, values: Mapping[str, Any]) -> None:
        self._policy.check_params(self._params(values))

    def _shut(self) -> None:
        self.closed = True
        self._policy.close()

    def _news(self) -> list[Any]:
        """What is said of its compiled form by now, if that is something else than was said last."""
        said = self._policy.meta.get("compiled")
        if said is None or said is self._compiled or said == self._compiled:
            return []
        self._compiled = said
        return [said]

    # -- what they share ----------------------------------------------------------------------------------------
    def _item(self, number: int, params: Any, inputs: Mapping[str, Any], context: Any) -> Item[Session]:
        return Item(self._session(number, params), inputs, context_in(context))

    def _session(self, number: int, params: Any) -> Session:
        """The session; ``params``: others than it goes by, or None."""
        session = self._sessions[number]
        if params is not None:
            object.__setattr__(session, "params", self._params(params))
        return session

    def _params(self, values: Mapping[str, Any]) -> Any:
        return build(cast("type[Any]", self._policy.params), values, "this policy", BadParameter)


def uncrossable(error: Exception) -> list[Any]:
    """In place of an answer that has no form between processes."""
    return error_out(PolicyFailed(f"the policy answered what does not cross from its worker: {error}"))


def overrides(thing: object, base: type, method: str) -> bool:
    """Whether it has a method of its own in place of its base class's, on its class or on itself."""
    own: Any = getattr(thing, method)
    return getattr(own, "__func__", own) is not getattr(base, method)


def _result(answer: Any) -> Any:
    if answer is None:
        return None
    if isinstance(answer, Chunk):
        if not all(isinstance(name, str) for name in cast("dict[Any, Any]", answer.columns())):
            return error_out(PolicyFailed("the policy answered a chunk with an action whose name is no text"))
        return chunk_out(answer)
    if isinstance(answer, OffboardError):
        return error_out(answer)
    return error_out(
        PolicyFailed(f"the policy answered {type(answer).__name__}; expected Chunk, None or an OffboardError")
    )


__all__ = ["Hosted", "overrides", "uncrossable"]
