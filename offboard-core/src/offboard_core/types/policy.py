"""What owns a model, and one robot's episode on it."""

from __future__ import annotations

import abc
import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import numpy as np
from offboard_client.errors import OffboardError, PolicyFailed, told

from .blocking import MayBlock
from .chunk import Array, Chunk
from .context import NO_CONTEXT, InferContext
from .control import Control, NoParams
from .elsewhere import Elsewhere
from .health import Health

log = logging.getLogger(__name__)

#: How many names of an observation an error lists.
_NAMED = 20


class Session(abc.ABC):
    """One episode of one robot on a policy. Never called concurrently; all calls come from the model's thread.

    ``params``: where the policy declares some of its parameters ``changeable``, those that it was started with. Between
    two inferences the server may put others there, as a whole: read them at each.
    """

    params: Any

    @abc.abstractmethod
    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk | None:
        """The next chunk for this model input; None = nothing new, go on; a chunk of no steps = stop.

        ``context`` holds nothing that :attr:`Policy.context` does not name.
        """

    def reset(self) -> None:
        """Forget the episode; the next input starts a new one. The parameters stay as they are."""

    def close(self) -> None:
        """Release what the episode holds."""


S = TypeVar("S", bound=Session)


@dataclass(frozen=True, slots=True)
class Item(Generic[S]):
    """What one session asks of a shared call."""

    session: S
    inputs: Mapping[str, Any]
    context: InferContext = NO_CONTEXT


class Policy(MayBlock, abc.ABC, Generic[S]):
    """Owns a model: its weights or the child process that has them. One policy serves many sessions.

    ``max_batch_size``: how many sessions' inputs one :meth:`infer_many` may carry; 1 = the policy does not batch.
    ``max_sessions``: how many sessions may be open at once, others wait; None = any number.
    ``params``: a frozen dataclass of what a session may tune (``?name=value``); every field has a default. Those
    declared by ``changeable`` may change while it is open: its sessions keep them as :attr:`Session.params`.
    ``controls``: what else a session may be asked, by the name of the control frame; the same for the policy's life.
    ``meta``: plain JSON facts for the handshake (``device``, ``chunk_length`` …); equal on every call, but for
    ``compiled``, which says what is the case (see :mod:`offboard_core.proofs`).
    ``context``: the fields of :class:`InferContext` that it takes. The handshake lists them, and an observation that
    brings another one is refused before it comes here. ``max_delay_steps``: the largest of ``delay_steps`` that it can
    answer to; None = any. ``history_sec``: seconds from the observation to each moment of ``history``, below 0, oldest
    first; or ``history_steps``: steps instead, for a model that was trained on the rows of a data set and does not know
    their rate. That is the codec's; where nothing says it, the policy is told no history. ``history_kept``: the server
    tells it what the session observed where a robot brings none, each moment's nearest; for a model that cannot go
    without, and does not remember by itself. Where there can be no history it gets no session.
    ``blocking``: False for a policy whose sessions answer within microseconds and wait for nothing: a table, a scripted
    controller, a call of a small ONNX graph; see :class:`~.blocking.MayBlock`. It is asked on the event loop then.
    All methods but :meth:`health` and :meth:`elsewhere` run on one thread, the same for the policy's whole life; those
    of a policy that does not block, one at a time.
    """

    max_batch_size: int = 1
    max_sessions: int | None = None
    params: type = NoParams
    meta: Mapping[str, Any] = {}
    context: frozenset[str] = frozenset()
    max_delay_steps: int | None = None
    history_sec: Sequence[float] = ()
    history_steps: Sequence[int] = ()
    history_kept: bool = False
    controls: Mapping[str, Control] = {}
    promised = frozenset({"infer_many", "new_session"})

    @abc.abstractmethod
    def new_session(self, params: Any) -> S:
        """Start an episode. ``params`` is an instance of :attr:`params`."""

    def check_params(self, params: Any) -> None:
        """Raises BadParameter for an instance of :attr:`params` that no session can go by.

        Asked before a session that is open is given others. The default raises nothing: what the dataclass itself
        refuses never comes here.
        """

    def infer_many(self, batch: Sequence[Item[S]]) -> Sequence[Chunk | OffboardError | None]:
        """One result per item, in order. An item that fails is answered by its error: one bad input fails one robot.

        The actions of two items lie in memory of their own, or in arrays that are read-only: what several robots are
        answered from the same memory is refused, for it holds what was written last. The next call may reuse it.
        The default runs them one by one, and what one raises is its own answer.
        """
        # One's answer is no other's memory.
        return [ask(item.session, item.inputs, item.context, own=len(batch) > 1) for item in batch]

    def batch_key(self, item: Item[S]) -> Hashable:
        """Only items of equal keys share a batch.

        The default: the inputs' names with shapes and dtypes; anything that is not an array counts by its type only.
        Of the context what a batch has one of: the prefix's and the history's shapes, and the delay. Seeds may differ.
        """
        inputs = _shapes(item.inputs)
        return inputs if item.context is NO_CONTEXT else (inputs, *_context_key(item.context))

    def health(self) -> Health:
        """Whether it can answer now. The default: always.

        The server asks several times a second and before each session, on its event loop and while other calls are
        under way: answer at once, from what is known already; wait for no lock, child or network. A policy that is
        ``recovering`` gets no new session until it is ``ready``; one that has ``failed``, or gives the same reason
        for longer than ``--load-timeout``, is lost: its sessions are told, and whoever comes next has it loaded anew.
        """
        return Health()

    def elsewhere(self) -> Elsewhere | None:
        """The process that has the model, where that is another one. Asked for ``/api/v1/status`` as :meth:`health`."""
        return None

    def close(self) -> None:
        """Release the weights or stop the child. Called once; no call follows."""


def ask(
    session: Session, inputs: Mapping[str, Any], context: InferContext, *, own: bool = False
) -> Chunk | OffboardError | None:
    """What a session answers, or the error that it raises. ``own``: in memory that is only that answer's."""
    try:
        result = session.infer(inputs, context)
        return result.copy() if own and isinstance(result, Chunk) else result
    except OffboardError as error:
        return error
    # SystemExit included: a policy that leaves the program leaves its own call and nothing else.
    except BaseException as error:
        log.exception("the policy failed on one observation")
        return raised(error, inputs)


def raised(error: BaseException, inputs: Mapping[str, Any] | None = None) -> PolicyFailed:
    """What a robot is told about an exception of the policy, which was given ``inputs``."""
    hint = ""
    text = told(error)
    if isinstance(error, KeyError) and inputs is not None and error.args and error.args[0] not in inputs:
        names = sorted(map(str, inputs))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        hint = f" (it was given {', '.join(names[:_NAMED]) or 'nothing'}{more})"
    if isinstance(error, ValueError) and text.endswith("is read-only"):  # as numpy says it
        hint = " (a Policy's inputs are views on the robot's message: copy an array before writing into it)"
    return PolicyFailed(f"the policy raised {text}{hint}. The server's log has the traceback")


def _context_key(context: InferContext) -> tuple[Hashable, ...]:
    prefix = None if context.prefix is None else _shapes(context.prefix.columns())
    return prefix, context.delay_steps, tuple(map(_shapes, context.history))


def _shapes(values: Mapping[str, Any]) -> tuple[Hashable, ...]:
    return tuple((name, *_shape(value)) for name, value in sorted(values.items()))


def _shape(value: Any) -> tuple[Hashable, ...]:
    if isinstance(value, np.ndarray):
        array = cast("Array", value)
        return array.shape, array.dtype.str
    return (type(value).__name__,)
