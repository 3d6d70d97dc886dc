"""Plays one episode: what a stream has for the robot's next control periods, checked, or a rung of the ladder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import DeadlineExceeded, PolicyFailed, RobotFailed, ServerChanged
from ..play import LOSSES, Command, Exchange, Guard, HoldStill, Ladder, PolicyStream, Rung, hold, lay_out
from ..robots import Asked, Robot, Task, Vector, measured, truth
from .attention import Attention
from .filming import Filming
from .freshness import Freshness
from .sampling import Sampling
from .telling import Audience
from .want import Want

#: Times that differ by less are the same time, in seconds: far below any period, far above the rounding of sums.
_SAME_TIME = 1e-6
#: What a policy may come back from by itself, while the arm holds.
_PASSING = (*LOSSES, DeadlineExceeded, PolicyFailed)
#: Seconds of what an arm is about to play that are checked at once, on a clock that goes on meanwhile.
_SURE = 0.06
#: Seconds that an arm may be ahead of the clock.
_AHEAD = 0.25
#: Seconds that a session has for its own limit to end a wait that this driver is in.
_WAIT = 3600.0


class Player:
    """One robot, one stream and one guard, for the episodes of a run.

    Where the robot's clock stands while the policy thinks (:attr:`Robot.realtime` is False), each answer is waited for,
    and an error ends the episode. Where it goes on the arm plays what is still valid, and then goes down the ladder.
    """

    def __init__(
        self,
        robot: Robot,
        task: Task,
        stream: PolicyStream,
        guard: Guard,
        ladder: Ladder,
        attention: Attention,
        audience: Audience,
        clock: Callable[[], float],
        safe_action: Mapping[str, Vector] | None = None,
    ) -> None:
        """``safe_action``: the place that the ladder's rung of that name leads to."""
        self._robot, self._task, self._stream, self._guard = robot, task, stream, guard
        self._ladder, self._attention, self._audience, self._clock = ladder, attention, audience, clock
        self._freshness = Freshness(robot)
        self._sampling = Sampling(robot, audience, guard.control_period, clock)
        self._filming = Filming(robot, audience)
        self._realtime: bool = getattr(robot, "realtime", False)
        stream.stands = not self._realtime
        #: Why there is nothing to play, where that is so.
        self.want = Want(stream, ladder, attention, clock, self._realtime)
        # What is played next, and until when it may be.
        self._plan: Iterator[Command] = iter(())
        self._until = math.inf
        self._safe_action = safe_action
        # The way to the safe action, as long as it is played.
        self._retreat: Iterator[Command] | None = None
        self._at = self._start = 0.0
        self._observation: Mapping[str, Any] = {}
        self._sent = self._observe_ms = 0.0
        self._over: Callable[[], bool] | None = getattr(task, "over", None)
        # Whether the arm has waited since the episode began, and nobody but the policy was the reason.
        self._unused = False

    def play(self, limit: float) -> bool:
        """``limit``: seconds of the robot's time. False if somebody ended it before.

        Raises what ends an episode, and at its end why not one answer could be used.
        """
        with self._filming.going_on():
            return self._play(limit)

    @property
    def fault(self) -> bool:
        """Whether what :meth:`play` raised is a fault: the last rung of the ladder, or an episode without an answer."""
        return self.want.fault

    @property
    def filmed(self) -> frozenset[str]:
        """The cameras whose every picture those who watch are told."""
        return self._filming.cameras

    # -- inside ----------------------------------------------------------------------------------------
    def _play(self, limit: float) -> bool:
        self._at = self._start = self._now()
        self._sampling.begin(self._at)
        self._observation = {}
        self._drop()
        self._unused = self._realtime
        while self._left(limit) > self._guard.control_period - _SAME_TIME:
            if self._attention.lost() and not self._gone_on():
                return False
            self._keep_up()
            if self._attention.led:
                self._lead(limit)
                continue
            if self._retreat is not None:
                self._look()
                self._go_on_retreating(self._retreat)
                continue
            self._ask()
            landed = self._stream.landed(self._at)
            if landed is not None:
                self._audience.answered(landed, self._sent, self._observe_ms)
                self._judge(landed)
            if self._attention.lost():
                continue
            if landed is not None:
                self._lay_out(limit)
            if not self._move(limit):
                return True
            if self._is_over():
                break
        else:
            if self._unused:
                raise self.want.found(f"nothing was played in {limit:g} s, for want of an answer", self._at)
        self.want.ended(self._at)
        return True

    def _now(self) -> float:
        return self._clock() if self._realtime else self._at

    def _is_over(self) -> bool:
        if self._over is None:
            return False
        with Asked("over"):
            over: Any = self._over()
        return truth(over, "what the task says of being over")

    def _left(self, limit: float) -> float:
        return limit - (self._at - self._start)

    def _gone_on(self) -> bool:
        """After the arm was stopped: nothing that was planned counts any more. False if the episode is over."""
        owed = self.want.owed(self._at)
        self._drop()
        if self._attention.holding:
            self._apply(Command({}, self._guard.control_period), "hold", counts=False)
        if not self._attention.may_move():
            self.want.stopped(owed)
            return False
        self._at = max(self._at, self._now())
        return True

    def _drop(self) -> None:
        self._stream.interrupt("the arm was stopped")
        self._guard.reset()
        self._ladder.clear()
        self._plan = iter(())
        self._retreat = self.want.retreated = None
        self._unused = False

    def _keep_up(self) -> None:
        """An arm that was kept from its next set-point for a whole control period does nothing to catch up."""
        if not self._realtime:
            return
        now = self._clock()
        if self._at - now > _AHEAD:
            raise RobotFailed(
                f"the robot's apply returns too early: it has played {self._at - self._start:.2f} s in "
                f"{now - self._start:.2f} s. Return when the time is over, or say realtime = False for a robot whose "
                "time passes in apply only"
            )
        if (late := now - self._at) > self._guard.control_period:
            # What was checked is as it was, but for what expires: checked anew it would keep the arm as long again.
            self._until = self._stream.stood(late, now)
            self._at = now
            if self._guard.minds_rest:
                self._lay_out(math.inf)

    def _ask(self) -> None:
        if (said := self._attention.instruction) is not None:
            self._stream.task = said
        if not self._stream.wants(self._at):
            self._look()
            return
        began = self._clock()
        with Asked("observe"):
            observation = dict(self._attention.observe())
            seen = self._clock()
            self._sampling.saw(observation, self._at, self._at - self._start, seen, began, asked=True)
            if not self._freshness.together(observation, seen):
                return
            if (instruction := self._task.instruction) is not None:
                observation = observation | {"task": instruction}  # those who watch may be reading the other
        self._observation = self._stream.observe(observation, self._at)
        if self._observation is not observation:  # else it is kept, for a model that looks back
            self._sent, self._observe_ms = seen, 1000 * (seen - began)
        if not self._realtime:
            self._stream.wait(_WAIT)

    def _look(self) -> None:
        """For those who watch, between what the policy is asked about."""
        self._sampling.look(self._at, self._at - self._start)

    def _lead(self, limit: float) -> None:
        """A person has the arm; what is played is checked as the policy's is. In the end the policy begins anew."""
        self._drop()
        leader = self._robot.leader
        assert leader is not None
        period = self._guard.control_period
        while not self._attention.lost() and self._attention.led and self._left(limit) > period - _SAME_TIME:
            self._look()
            with Asked("leader"):
                action = dict(leader.action())
            commands = self._guard.check([Command(action, period)], self._measured())
            with self._attention.in_motion():
                self._apply(next(commands), "led")
        self._drop()
        try:
            self._stream.reset()
        except LOSSES:
            if not self._realtime:
                raise
            # As any other loss: the next observation opens a session anew, and meanwhile the arm holds.

    def _judge(self, landed: Exchange) -> None:
        """Raises what ends the episode."""
        self.want.landed(landed)
        if (failure := landed.failure) is None:
            self._unused = self._unused and landed.dropped is not None
            return
        if not (self._realtime and isinstance(failure, _PASSING)):
            raise failure
        self._ladder.failed()

    def _lay_out(self, limit: float) -> None:
        steps = self._stream.steps(self._at)
        parts = [(step.due - self._at, step.until - self._at, step.action, step.row) for step in steps]
        commands = lay_out(parts, self._guard.control_period, self._left(limit))
        self._plan, self._until = iter(()), math.inf
        if commands:
            ahead = _SURE if self._realtime else math.inf
            self._plan = self._guard.check(commands, self._measured(), ahead)

    def _measured(self) -> Mapping[str, Any]:
        if not self._realtime and not self._attention.led:
            return self._observation
        return measured(self._robot)

    def _move(self, limit: float) -> bool:
        """Play one command. False where the policy has ended the episode."""
        command = next(self._plan, None) if self._at < self._until - _SAME_TIME else None
        if command is None and self._stream.done:
            return False
        why = self._stream.why(self._at) if self._realtime else None
        if why is not None and isinstance(why.failure, ServerChanged):
            raise why.failure
        rung = self._ladder.rung(self._at, playable=command is not None, overdue=why is not None)
        if rung == "fault":
            waited = "" if (since := self._ladder.held) is None else f" {self._at - since:.2g} s"
            raise self.want.found(f"the arm held still{waited} for want of an answer (patience.fault_after)", self._at)
        if rung == "safe_action" and self.want.retreated is None:
            self._begin_to_retreat(why or HoldStill("no answer came"))
            return True
        if command is not None:
            self.want.retreated = None
        else:
            self._guard.rest()
            period = self._guard.control_period if self._realtime else self._guard.action_period
            command = hold(period, self._guard.control_period, self._left(limit))
        if self._attention.lost():  # while it was laid out
            return True
        with self._attention.in_motion():
            self._apply(command, "playing" if not self._realtime else rung)
        return True

    def _begin_to_retreat(self, why: HoldStill) -> None:
        """Until the arm is there nobody is asked: the answer would be about where it is no more."""
        assert self._safe_action is not None
        self.want.retreated = why
        self._stream.interrupt("the safe action is played")
        self._plan = iter(())
        self._retreat = self._guard.bring(self._safe_action, self._measured)

    def _go_on_retreating(self, way: Iterator[Command]) -> None:
        command = next(way, None)
        if command is None:
            self._retreat = None
        elif not self._attention.lost():
            with self._attention.in_motion():
                self._apply(command, "safe_action")

    def _apply(self, command: Command, rung: Rung, counts: bool = True) -> None:
        at = self._clock()
        with Asked("apply"):
            command.play_on(self._robot)
        self._audience.ticked(command, rung, at, self._at - self._start, self._observation)
        if counts:
            self._at += command.seconds
