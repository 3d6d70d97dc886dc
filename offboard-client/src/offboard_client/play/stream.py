"""A policy's answers as one stream of actions on the robot's own clock: asked in the background, never played late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from ..chunks import ChunkStrategy, RoundTrips, Step, choose_strategy
from ..errors import ConfigurationError, ConnectionLost, InvalidAction, ServerChanged
from ..wire import Row
from .background import OneThread
from .exchange import LOSSES, Exchange, HoldStill, named
from .frames import Frames
from .pace import Pace
from .policy import PolicySession

#: Seconds between two attempts to open a session anew, each of which has its own patience.
_AGAIN = 1.0


class PolicyStream:
    """A session whose answers become a stream of actions.

    Call it in the robot's loop, from one thread::

        while True:
            now = time.monotonic()
            if stream.wants(now):
                stream.observe(robot.observe(), now)
            action = stream.next_action(now)

    ``now`` is the robot's clock, in seconds that only grow; an action is called for when the one before is over. Any
    other thread may call :meth:`interrupt`, :meth:`configure` and :meth:`close`, and set :attr:`task`.
    """

    def __init__(
        self,
        session: PolicySession,
        chunks: str | ChunkStrategy = "prefetch",
        *,
        horizon_sec: float | None = None,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``chunks``: a strategy or its name (:data:`~offboard_client.chunks.STRATEGIES`).

        ``horizon_sec``, ``speed``: :class:`.Pace`.
        ``clock``: by which answers are awaited, in seconds; the robot's where it has one of its own.

        The session is the stream's from now on. Raises ConfigurationError for a model that cannot be played so.
        """
        self._meta = session.metadata
        self._pace = Pace.of(self._meta, horizon_sec, speed)
        self._strategy = choose_strategy(chunks) if isinstance(chunks, str) else chunks
        self._strategy.check(self._meta)
        self._frames = Frames(self._meta)
        self._session, self._clock, self._trips = session, clock, RoundTrips()
        self._lock = threading.Lock()
        self._landed = threading.Condition(self._lock)
        self._asker = OneThread("offboard-stream")
        self._epoch, self._episode, self._stood, self._not_before = 0, 0, 0.0, float("-inf")
        self._flying = self._closed = self._anew = False
        self._mail: Exchange | None = None
        self._task: str | None = None
        self._told = self._task  # by what was sent last
        self._why = HoldStill("no observation was sent yet")
        #: How often the policy has begun an episode in mid-run because its session was lost.
        self.reconnects = 0
        #: Whether the robot's clock stands while an answer is awaited.
        self.stands = False

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The handshake's ``meta``."""
        return self._meta

    @property
    def action_period(self) -> float:
        """Seconds of one action, as it is played."""
        return self._pace.played

    @property
    def lead(self) -> float | None:
        """Seconds in which an answer is to be expected; None as long as nothing is known."""
        return self._trips.lead

    @property
    def task(self) -> str | None:
        """What the policy is told; None: what the observation says.

        Another one counts from the next inference on, which is begun at once; what was made for the old one is played
        until its answer is there, and no longer.
        """
        return self._task

    @task.setter
    def task(self, instruction: str | None) -> None:
        with self._lock:
            if instruction != self._task:
                self._task = instruction
                self._strategy.renew()

    # -- the robot's loop ------------------------------------------------------------------------------
    def wants(self, now: float) -> bool:
        """Whether an observation is wanted now, to be sent or to be kept for a model that wants to know what was."""
        with self._lock:
            return self._asks(now) or self._frames.due(now)

    def observe(self, observation: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """Hand in what was observed ``now``. If the policy is to be asked it is sent, once, in the background.

        Returns what is sent, or else the same. Raises ConnectionLost after :meth:`close`.
        """
        with self._lock:
            if self._closed:
                raise ConnectionLost("this stream was closed")
            self._frames.keep(observation, now)
            if not self._asks(now):
                return observation
            sent = dict(observation) | ({} if self._task is None else {"task": self._task})
            self._told = self._task
            sent |= self._frames.told(now) | self._strategy.told(now, 0.0 if self.stands else self._trips.lead)
            self._flying, self._not_before, self._stood = True, now + self.action_period, 0.0
            self._why = HoldStill("the first answer is awaited" if self._trips.lead is None else "an answer is awaited")
            epoch, began = self._epoch, self._clock()
        self._asker.put(lambda: self._ask(sent, now, began, epoch))
        return sent

    def landed(self, now: float) -> Exchange | None:
        """The exchange that has ended since the last call, if one has; its rows are played from ``now`` on."""
        with self._lock:
            return self._land(now)

    def next_action(self, now: float) -> Step | HoldStill:
        """What is played from ``now`` until its ``until``; or nothing, and why."""
        with self._lock:
            self._land(now)
            step = self._strategy.play(now)
            return self._why if step is None or step.expires <= now else step  # it may have expired since it was due

    def stood(self, seconds: float, now: float) -> float:
        """The arm was kept for so long, until now: what it was to play waited with it, and what comes. Until when."""
        with self._lock:
            self._strategy.stood(seconds, now)
            self._stood += seconds
            return self._strategy.end

    def steps(self, now: float) -> list[Step]:
        """What is played from ``now`` on, as far as it is known; see :meth:`landed`."""
        with self._lock:
            self._strategy.play(now)
            # A step is played whole or not at all: less time would make it faster.
            return [step for step in self._strategy.steps if step.due >= now - step.period / 4]

    @property
    def done(self) -> bool:
        """Whether the policy has said that the episode is over."""
        return self._why.done

    def why(self, now: float) -> HoldStill | None:
        """Why there is nothing new, where an answer is overdue or has failed; None while all is well."""
        with self._lock:
            if self._why.failure is not None:
                return self._why
            lead = self._trips.lead if self._flying else None
            return None if lead is None or now <= self._not_before + lead + self.action_period else self._why

    def wait(self, seconds: float) -> bool:
        """Wait for the answer that is on its way, so long at most; whether there is none. For a clock that stands."""
        with self._landed:
            return self._landed.wait_for(lambda: self._mail is not None or not self._flying, seconds)

    # -- from any thread -------------------------------------------------------------------------------
    def interrupt(self, reason: str = "it was interrupted") -> None:
        """Drop what is queued, and the answer that is on its way. Returns at once."""
        with self._lock:
            self._drop(reason)

    def configure(self, **options: Any) -> dict[str, Any]:
        """Change options of the session from the next inference on; what it did: ``{option: {"old": …, "new": …}}``.

        Waits for the answer that is on its way. Raises what the session raises.
        """
        configure: Any = getattr(self._session, "configure", None)
        if configure is None:
            raise ConfigurationError("this policy has nothing that could be changed while it plays")
        return self._asker.call(lambda: configure(**options))

    def reset(self) -> None:
        """Begin a new episode: everything is dropped, and the policy forgets. Waits for it; raises what that raises."""
        with self._lock:
            self._drop("the episode has just begun")
            self._episode, self._anew = self._episode + 1, False
            self._frames.clear()
        self._asker.call(self._session.reset)

    def close(self, session: bool = True) -> None:
        """End the thread, and the session unless somebody else does. Never raises; may be repeated."""
        with self._lock:
            self._drop("the stream was closed")
            self._closed = True
        if session:
            self._session.close()
        self._asker.close()

    def __enter__(self) -> PolicyStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- inside, with the lock -------------------------------------------------------------------------
    def _asks(self, now: float) -> bool:
        busy = self._closed or self._flying or self._mail is not None or self._why.done
        again = now >= self._not_before - self.action_period / 4
        return not busy and again and self._strategy.asks(now, 0.0 if self.stands else self._trips.early)

    def _drop(self, reason: str) -> None:
        self._epoch += 1
        self._landed.notify_all()
        self._mail, self._not_before = None, float("-inf")
        self._strategy.clear()
        self._why = HoldStill(reason)

    def _land(self, now: float) -> Exchange | None:
        mail, self._mail = self._mail, None
        if mail is None:
            return None
        if mail.failure is not None:
            self._why = HoldStill(mail.failure.text, mail.failure)
        elif mail.rows is None:
            self._why = HoldStill("the policy has nothing new to say")
        elif not mail.rows:
            self._strategy.clear()
            self._why = HoldStill("the policy says that the episode is over", done=True)
        else:
            return self._taken(mail, mail.rows, now)
        return mail

    def _taken(self, mail: Exchange, rows: Sequence[Row], now: float) -> Exchange:
        try:
            dropped = self._strategy.take(self._pace.lay(rows, mail.observed).moved(self._stood), now)
        except InvalidAction as error:
            self._why = HoldStill(error.text, error)
            return replace(mail, failure=error)
        if self._told != self._task:  # this is of the old one, and asks for the new one no later
            self._strategy.renew()
        self._why = HoldStill(dropped or "the last answer was played to its end, and the next one is awaited")
        return replace(mail, dropped=dropped)

    # -- inside, on the stream's thread ----------------------------------------------------------------
    def _ask(self, observation: Mapping[str, Any], observed: float, began: float, epoch: int) -> None:
        rows: Any = None
        timing, failure, configured = dict[str, float](), None, dict[str, Any](getattr(self._session, "configured", ()))
        try:
            rows = self._session.infer(observation)
            timing = dict(self._session.timing.last)
        except BaseException as error:  # of a session in this process, SystemExit included
            failure = named(error)
        took, images = self._clock() - began, getattr(self._session, "images", None)
        mail = Exchange(observation, observed, rows, took, timing, failure, None, False, configured, images)
        with self._landed:
            self._flying = lost = isinstance(failure, LOSSES)
            if epoch == self._epoch:
                self._mail, self._anew = replace(mail, anew=self._anew), False
            elif failure is not None and lost:  # dropped, but there is no answer for that reason
                self._why = HoldStill(failure.text, failure)
            self._landed.notify_all()
            if failure is None:
                self._trips.took(0.0 if self.stands else took)
        if lost:
            self._open_anew()

    def _open_anew(self) -> None:
        """Open the session that follows a lost one before anything is observed for it: that would be old by then."""
        episode = self._episode
        while True:
            failure = None
            try:
                self._session.reset()
            except BaseException as error:
                failure = named(error)
            with self._landed:
                self._why = self._why if failure is None else HoldStill(failure.text, failure)
                gone = isinstance(failure, ServerChanged)  # which no other attempt mends
                if failure is None or gone or self._closed or episode != self._episode:
                    self._flying = False
                    if gone:
                        self._not_before = float("inf")
                        self._mail = self._mail and replace(self._mail, failure=failure)
                    self._trips.cold()
                    self.reconnects += failure is None
                    self._anew = failure is None and episode == self._episode
                    self._landed.notify_all()
                    return
                self._landed.wait_for(lambda: self._closed or episode != self._episode, _AGAIN)
