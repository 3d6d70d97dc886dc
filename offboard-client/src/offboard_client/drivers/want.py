"""Why an arm has nothing to play, and whether that is the policy's own affair."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InferTimeout, InvalidAction, OffboardError, PolicyFailed
from ..play import Exchange, HoldStill, Ladder, PolicyStream, Stop
from .attention import Attention

#: What says something about the policy, whatever its connection.
_ITS_OWN = (InvalidAction, PolicyFailed)
#: Seconds from one look to the next whether somebody has ended what is waited for.
_LOOK = 0.1


class Want:
    """Of one episode after the other what becomes of its answers. Not thread-safe."""

    def __init__(
        self, stream: PolicyStream, ladder: Ladder, attention: Attention, clock: Callable[[], float], realtime: bool
    ) -> None:
        self._stream, self._ladder, self._attention = stream, ladder, attention
        self._clock, self._realtime = clock, realtime
        #: Whether what ended the episode is a fault: the last rung of the ladder, or that no answer came.
        self.fault = False
        #: What failed, or that nothing came, where somebody ended the episode while the arm held still for want of it.
        self.unanswered: OffboardError | None = None
        #: Why the arm has gone to the safe action since an answer was played last, if it has.
        self.retreated: HoldStill | None = None
        # Of the last exchange: why it failed, or why nothing of it is played.
        self._failure: OffboardError | None = None
        self._dropped: str | None = None
        # Of an episode that ended while the arm held still for an answer: seconds until it would have been a fault.
        self._left: float | None = None
        self._at = 0.0

    def begin(self) -> None:
        """An episode begins."""
        self.fault, self._failure, self._dropped, self._left = False, None, None, None
        self.unanswered = None

    def landed(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        self._failure, self._dropped = exchange.failure, exchange.dropped

    def found(self, what: str, at: float) -> OffboardError:
        """The fault, by what failed, else by ``what`` there is no answer. ``at``: now, on the robot's clock."""
        self.fault = True
        why, reason = self._why(at)
        return InferTimeout(f"{what}: {self._dropped or reason}") if why is None else why

    def ended(self, at: float) -> None:
        """The episode has come to its end; not by the policy's word, nor by a person's."""
        self._at, self._left = at, self._ladder.left(at) if self._realtime else None

    def owed(self, at: float) -> OffboardError | None:
        """What failed, or that nothing comes though it should be there, where the arm holds still for want of it."""
        if not self._realtime or self._ladder.left(at) is None:
            return None
        self._land(at)
        why, reason = self._why(at)
        if why is not None and not isinstance(why, _ITS_OWN):
            return why
        late = self._stream.lead is None or self._stream.why(at) is not None
        return InferTimeout(f"the arm held still for want of an answer: {reason}") if late and self._awaited else None

    def stopped(self, owed: OffboardError | None) -> None:
        """The episode was ended from outside. ``owed``: by :meth:`owed` when the arm was told to stop."""
        if not isinstance(self._attention.end, Stop):
            return  # nobody judges what is thrown away
        # What has come since was slow, which is the policy's own affair.
        self.unanswered = owed if self._awaited or not isinstance(owed, InferTimeout) else None

    def settle(self) -> bool:
        """After an episode, the robot at rest: raises where what came of it is not the policy's.

        An arm that held still for want of an answer at the end might have done more. The answer that was on its way is
        awaited as long as the arm would have waited for it. One that comes was slow, which is the policy's own affair,
        as its own errors are. Raises what failed, and InferTimeout where nothing comes. False where somebody ended the
        wait, who has judged the episode; whether an answer was owed says :attr:`unanswered`.
        """
        if self._left is None:
            return True
        self._check()
        until = self._clock() + self._left
        while not self._stream.wait(min(_LOOK, max(0.0, until - self._clock()))):
            self._check()  # what is tried again and again fails, and never comes
            if self._attention.ended():
                self.stopped(self.owed(self._clock()))
                return False
            if self._clock() >= until:
                self.fault, reason = True, self._dropped or self._why(self._at)[1]
                if self._failure is not None:  # the policy's own, which says nothing of the exchange that hangs
                    reason = f"the exchange before it failed ({self._failure.code}: {self._failure.text})"
                raise InferTimeout(
                    "the arm held still for want of an answer when the episode ended, and none came in what was left "
                    f"of its patience (patience.fault_after): {reason}"
                )
        self._check()
        return True

    # -- inside ----------------------------------------------------------------------------------------
    def _land(self, at: float) -> None:
        if (exchange := self._stream.landed(at)) is not None:
            self.landed(exchange)

    @property
    def _awaited(self) -> bool:
        return not self._stream.wait(0.0)

    def _check(self) -> None:
        self._land(self._at)
        why, _ = self._why(self._at)
        if why is not None and not isinstance(why, _ITS_OWN):
            self.fault = True
            raise why

    def _why(self, at: float) -> tuple[OffboardError | None, str]:
        """What failed, if something did, and in words why there is nothing."""
        held = self._stream.next_action(at)
        if self.retreated is not None and getattr(held, "failure", None) is None:
            held = self.retreated
        return getattr(held, "failure", None) or self._failure, getattr(held, "reason", "none came")
