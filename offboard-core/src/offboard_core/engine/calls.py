"""What the model's thread runs: single calls for the service, and the policy's own on a batch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from offboard_client.errors import InferTimeout, ModelLost, OffboardError, PolicyFailed, from_code, told

from ..types import Chunk, Policy, apart, ask, raised
from .exchange import Exchange
from .pipeline import Result

log = logging.getLogger(__name__)
# For type checkers a policy of sessions that they do not know.
_POLICY: Any = Policy
_ONE_BY_ONE = _POLICY.infer_many
_RESULTS = (Chunk, OffboardError, type(None))


class Call:
    """A function to run on the model thread, and the future that wants its result."""

    __slots__ = ("function", "future", "loop")

    def __init__(
        self, function: Callable[[], Any], future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.function, self.future, self.loop = function, future, loop

    def run(self) -> None:
        """Call it, and hand what came of it to the event loop."""
        try:
            result, error = self.function(), None
        # SystemExit included: a policy that leaves the program leaves its own call and nothing else.
        except BaseException as exception:
            result, error = None, exception
        with contextlib.suppress(RuntimeError):  # the loop may be gone by now, and with it whoever asked
            self.loop.call_soon_threadsafe(self._resolve, result, error)

    def _resolve(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        elif isinstance(error, Exception) and not isinstance(error, StopIteration):  # which a future does not take
            self.future.set_exception(error)
        else:
            self.future.set_exception(PolicyFailed(f"on the model thread: {told(error)}"))


def too_late(limit: float, why: str) -> InferTimeout:
    """What an exchange is answered that is older than ``limit`` s."""
    return InferTimeout(
        f"the policy did not answer within {limit:g} s: {why}. "
        "Nothing of a later answer will be sent; raise --infer-timeout if this model is that slow"
    )


def infer(policy: Policy[Any], batch: Sequence[Exchange]) -> Sequence[Result]:
    """One call of the policy; what it raises answers everybody who shared it.

    It does not say whose input it was, and cannot be made again: sessions that remember an episode may have gone on by
    a step. So from then on each of them is asked alone, until it has been answered: then only whose input it is fails.
    """
    many: Any = policy.infer_many
    if len(batch) == 1 and getattr(many, "__func__", None) is _ONE_BY_ONE:
        return [_infer_alone(batch[0])]
    items = [exchange.item() for exchange in batch]
    try:
        results = policy.infer_many(items)
        if len(results) != len(items):
            raise PolicyFailed(f"infer_many answered {len(results)} results to {len(items)} items")
        checked = [_checked(results[0])] if len(batch) == 1 else apart([_checked(result) for result in results])
    except OffboardError as error:
        failure: OffboardError = error
    # SystemExit included: a policy that leaves the program leaves its own call and nothing else.
    except BaseException as error:
        log.exception("the policy failed")
        failure = raised(error)
    else:
        for exchange, result in zip(batch, checked, strict=True):
            if exchange.pipeline.alone and not isinstance(result, OffboardError):
                exchange.pipeline.alone = False
        return checked
    if len(batch) > 1 and not isinstance(failure, ModelLost):
        for exchange in batch:
            exchange.pipeline.alone = True
        shared = f"{failure.text} ({len(batch)} robots shared the call; for now each of them is asked alone)"
        failure = from_code(failure.code, shared)
    return [failure] * len(batch)


def _infer_alone(exchange: Exchange) -> Result:
    """What comes of it where one item is asked for as any policy does that says nothing else about batches."""
    pipeline = exchange.pipeline
    result = _checked(ask(pipeline.session, exchange.inputs, exchange.context))
    if pipeline.alone and not isinstance(result, OffboardError):
        pipeline.alone = False
    return result


def _checked(result: object) -> Result:
    if isinstance(result, _RESULTS):
        return result
    return PolicyFailed(f"the policy answered {type(result).__name__}; expected Chunk, None or an OffboardError")
