"""What owns a model, and one robot's episode on it."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from offboard_client.errors import OffboardError

from .chunk import Chunk
from .health import Health


@dataclass(frozen=True)
class NoParams:
    """The parameters of a policy that has none."""


class Session(abc.ABC):
    """One episode of one robot on a policy. Never called concurrently; all calls come from the model's thread."""

    @abc.abstractmethod
    def infer(self, inputs: Mapping[str, Any]) -> Chunk | None:
        """The next chunk for this model input; None = nothing new, go on; a chunk of no steps = stop."""

    def reset(self) -> None:
        """Forget the episode; the next input starts a new one."""

    def close(self) -> None:
        """Release what the episode holds."""


S = TypeVar("S", bound=Session)


class Policy(abc.ABC, Generic[S]):
    """Owns a model: its weights or the child process that has them. One policy serves many sessions.

    ``max_batch_size``: how many sessions' inputs one :meth:`infer_many` may carry; 1 = the policy does not batch.
    ``max_sessions``: how many sessions may be open at once, others wait; None = any number.
    ``params``: a frozen dataclass of what a session may tune (``?name=value``); every field has a default.
    ``meta``: plain JSON facts for the handshake (``device``, ``chunk_length`` …); equal on every call.
    All methods but :meth:`health` run on one thread, the same for the policy's whole life.
    """

    max_batch_size: int = 1
    max_sessions: int | None = None
    params: type = NoParams
    meta: Mapping[str, Any] = {}

    @abc.abstractmethod
    def new_session(self, params: Any) -> S:
        """Start an episode. ``params`` is an instance of :attr:`params`."""

    def infer_many(self, batch: Sequence[tuple[S, Mapping[str, Any]]]) -> Sequence[Chunk | OffboardError | None]:
        """One result per pair, in order. An item that fails is answered by its error: one bad input fails one robot.

        The default runs them one by one.
        """
        from ._each import infer_each

        return infer_each(batch)

    def batch_key(self, inputs: Mapping[str, Any]) -> Hashable:
        """Only inputs of equal keys share a batch. The default: names, shapes and dtypes."""
        from ._each import shape_key

        return shape_key(inputs)

    def health(self) -> Health:
        """Whether it can answer now. The default: always.

        The server asks several times a second and before each session, on its event loop and while other calls are
        under way: answer at once, from what is known already; wait for no lock, child or network. A policy that is
        ``recovering`` gets no new session until it is ``ready``; one that has ``failed``, or gives the same reason
        for longer than ``--load-timeout``, is lost: its sessions are told, and whoever comes next has it loaded anew.
        """
        return Health()

    def close(self) -> None:
        """Release the weights or stop the child. Called once; no call follows."""
