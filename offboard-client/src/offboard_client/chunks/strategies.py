"""How the answers of a policy become one stream of steps.

Each strategy is a small object that knows no thread and no clock: it is told the time. There is one observation in
flight at most.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import ConfigurationError
from .mix import Made, at, made_of, mixed, shares
from .steps import Step, TimedChunk


class ChunkStrategy(abc.ABC):
    """What is played of which answer, and when the next one is asked for.

    ``threshold``: it is asked when so much of the newest chunk is left, 0 to 1, or when what is left will not last
    until the answer. ``steps``: what will be played, by ``due``; each until the next begins.

    An answer that comes while the arm moves counts from its observation. While the arm stands still, for want of an
    answer, so does the chunk: it goes on from where the last one ended, for the arm is there. Nothing is played after
    the chunk it is of has expired.
    """

    threshold = 0.0

    def __init__(self, threshold: float | None = None) -> None:
        if threshold is not None:
            if not 0 <= threshold <= 1:
                raise ConfigurationError(
                    f"the threshold is {threshold:g}; it is the share of a chunk that is left when the policy is "
                    "asked for the next one, 0 to 1"
                )
            self.threshold = threshold
        self.steps: list[Step] = []
        # What the newest answer says, of which steps are played where those before them are over.
        self._newest: list[Step] = []
        self._length = 0.0
        self._end = -math.inf
        self._renewed = True

    @property
    def end(self) -> float:
        """When the last step is over; what was played last before counts, too."""
        return self.steps[-1].until if self.steps else self._end

    def check(self, meta: Mapping[str, Any]) -> None:
        """Raises ConfigurationError for a model, by its handshake, that cannot be played so."""

    def asks(self, now: float, lead: float | None) -> bool:
        """Whether an observation is to be taken now. ``lead``: seconds before its answer is needed, if known."""
        if self._renewed:
            return True
        left = self.end - now
        # An answer is played from the next step on, and it is asked when a step begins: one more is too late.
        step = self.steps[-1].period if self.steps else 0.0
        return left - step < (lead or 0.0) - SAME or left <= self.threshold * self._length + SAME

    def told(self, now: float, lead: float | None) -> dict[str, Any]:
        """What goes with an observation that is taken now, by its reserved names."""
        return {}

    def take(self, chunk: TimedChunk, now: float) -> str | None:
        """An answer has come. Returns why it is not played, if it is not."""
        old = [step for step in self.steps if step.until > now + chunk.period / 4]
        fresh = self._placed(chunk, old, now)
        if not fresh:
            taken = chunk.steps[0].observed  # the chunk's own is later where the arm stood meanwhile
            return (
                f"the answer came {now - taken:.3g} s after its observation, and what it says is for "
                f"{chunk.expires - taken:.3g} s: nothing of it is left to play"
            )
        self._newest = self._made([] if self._renewed else old, fresh, now)
        self._length, self._end = chunk.length, self.end
        self.steps, self._renewed = self._joined(old, self._newest), False
        return None

    def _placed(self, chunk: TimedChunk, old: Sequence[Step], now: float) -> list[Step]:
        """The steps of an answer that may still be played, beside those that are played already."""
        slack = chunk.period / 4
        late = max(now - max(chunk.observed, self.end), 0.0)
        steps = [step.moved(late) for step in chunk.steps]
        if old:
            steps = [step for step in steps if step.due >= now - slack]
            beats = [*(step.due for step in old), old[-1].until]
        else:  # of what the arm stands in the middle of, nothing is left out
            steps = [step for step in steps if step.until > now + slack]
            beats = [now]
        if not steps:
            return []
        # A step is played whole or not at all, for less time would make it faster; so two chunks share their beats.
        beat = min(beats, key=lambda each: abs(each - steps[0].due))
        if steps[0].due < beat or (old and steps[0].due - beat <= chunk.period / 2):
            steps = [step.moved(beat - steps[0].due) for step in steps]
        return [step for step in steps if _lasting(step)]

    def play(self, now: float) -> Step | None:
        """The step that is due now; what was before is forgotten."""
        while len(self.steps) > 1 and self.steps[1].due <= now + _slack(self.steps[1]):
            self.steps.pop(0)
        if not self.steps or self.steps[0].due > now + _slack(self.steps[0]):
            return None
        if self.steps[0].until <= now + SAME:
            self._end = self.steps.pop(0).until
            return None
        return self.steps[0]

    def stood(self, seconds: float, now: float) -> None:
        """The arm was kept from playing for so long, until now, and stands where it stood: so does what it plays."""
        self.play(now - seconds)
        # One that had nothing to play stood before, too, and for that the next answer waits as well.
        self._end = now if self.steps else self._end + seconds
        moved, self._newest = [step.moved(seconds) for step in self.steps], _later(self._newest, seconds)
        self.steps = list(itertools.takewhile(_lasting, moved))
        if len(self.steps) < len(moved):
            # Where the end of an older answer has expired, what follows it is farther than one step away.
            end = self.steps[-1].until if self.steps else now
            self.steps += [step for step in self._newest if step.due >= end - SAME]

    def renew(self) -> None:
        """What comes next is of another task: it takes the place of what is there, and is mixed with nothing of it."""
        self._renewed = True

    def clear(self) -> None:
        """Drop everything: the arm was stopped, or moved by somebody else."""
        self.steps = []
        self._newest = []
        self._end = -math.inf
        self._length = 0.0
        self._renewed = True

    def _joined(self, old: Sequence[Step], made: Sequence[Step]) -> list[Step]:
        """What is left of the answers before, and what is made of the newest one."""
        return _replaced(old, made)

    @abc.abstractmethod
    def _made(self, old: Sequence[Step], fresh: list[Step], now: float) -> list[Step]:
        """What is played of an answer, from its first step on in place of the old ones.

        ``old``: what is left of the answers before, as far as they were for the same task.
        """


class Prefetch(ChunkStrategy):
    """A chunk is played to its end; the policy is asked early enough that the next one is there by then.

    How early is not known at first: so it is asked at once while the first chunk is played, until it is.
    """

    def asks(self, now: float, lead: float | None) -> bool:
        """See :meth:`ChunkStrategy.asks`."""
        return lead is None or super().asks(now, lead)

    def take(self, chunk: TimedChunk, now: float) -> str | None:
        """See :meth:`ChunkStrategy.take`.

        An answer in whose place one that is asked for now would be in time, too, has only said how early to ask. It is
        not played, and that is no loss.
        """
        took = now - chunk.observed
        if not self.threshold and not self._renewed and self.end - now > took + chunk.period + SAME:
            return None
        return super().take(chunk, now)

    def _joined(self, old: Sequence[Step], made: Sequence[Step]) -> list[Step]:
        if self._renewed or not old:
            return super()._joined(old, made)
        return [*old, *(step for step in made if step.due >= old[-1].until - SAME)]

    def _made(self, old: Sequence[Step], fresh: list[Step], now: float) -> list[Step]:
        return fresh


class Sequential(Prefetch):
    """A chunk is played to its end, then the policy is asked; the arm stands still while it thinks."""

    def __init__(self, threshold: float | None = None) -> None:
        """Raises ConfigurationError for a threshold: it asks when nothing is left."""
        if threshold:
            raise ConfigurationError(
                "sequential asks when nothing of a chunk is left, and takes no threshold; every other strategy does: "
                "latest goes over to the next answer at once, prefetch plays what is left of the chunk first"
            )
        super().__init__(threshold)

    def asks(self, now: float, lead: float | None) -> bool:
        """Whether nothing is left to play."""
        return self._renewed or self.end <= now + SAME


class Latest(ChunkStrategy):
    """An answer takes the place of what is left of the one before, from its own time on."""

    threshold = 0.5

    def _made(self, old: Sequence[Step], fresh: list[Step], now: float) -> list[Step]:
        return fresh


#: In so many of its last steps the older of two answers fades whose weights are constant, for without it would jump.
_TAPER = 3


class Blend(ChunkStrategy):
    """Where two answers speak of one moment they are averaged.

    ``weight``: how much the newer one counts, 0 to 1, until the older one fades in its last three steps; None: from
    nothing at first to all at the end of the older one.
    """

    threshold = 0.5

    def __init__(self, weight: float | None = None, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._weight = weight

    def _made(self, old: Sequence[Step], fresh: list[Step], now: float) -> list[Step]:
        made = list[Step]()
        for step in fresh:
            before = at(old, step.due)
            if before is None:
                made.append(step)
                continue
            left = old[-1].until - step.due
            part = left / (old[-1].until - now) if self._weight is None else left / step.period / (1 + _TAPER)
            weight = 1 - (1 - (self._weight or 0.0)) * min(max(part, 0.0), 1.0)
            both, weights = [before, step.action], [1 - weight, weight]
            made.append(replace(step, action=made_of(both, partial(mixed, both, weights))))
        return made


class Ensemble(ChunkStrategy):
    """ACT's temporal ensembling: the policy is asked all the time, and what all answers say of a moment is averaged.

    The oldest counts most (Zhao et al. 2023, *Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware*).
    """

    threshold = 1.0

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._answers: list[list[Step]] = []

    def stood(self, seconds: float, now: float) -> None:
        """See :meth:`ChunkStrategy.stood`."""
        super().stood(seconds, now)
        self._answers = [kept for answer in self._answers if (kept := _later(answer, seconds))]

    def _made(self, old: Sequence[Step], fresh: list[Step], now: float) -> list[Step]:
        # Where nothing is left to go on from the arm stands still, and what was said before is about another moment.
        self._answers = [each for each in self._answers if each[-1].until > now + SAME] if old else []
        self._answers.append(fresh)
        answers = list(self._answers)

        def averaged(due: float) -> Mapping[str, Any]:
            said = [
                (at(each, due), share) for each, share in zip(answers, shares(answers, due, now), strict=True) if share
            ]
            speaking = [(action, share) for action, share in said if action is not None]
            return mixed([action for action, _ in speaking], [share for _, share in speaking])

        return [replace(step, action=Made(partial(averaged, step.due))) for step in fresh]


def _later(steps: Sequence[Step], seconds: float) -> list[Step]:
    return [moved for step in steps if _lasting(moved := step.moved(seconds))]


def _lasting(step: Step) -> bool:
    return step.due < step.expires - SAME


def _replaced(old: Sequence[Step], fresh: Sequence[Step]) -> list[Step]:
    """The old steps up to where the fresh ones begin."""
    begin = fresh[0].due
    kept = [replace(step, until=min(step.until, begin)) for step in old if step.due < begin - SAME]
    return [*kept, *fresh]


#: Moments that differ by less are the same one, in seconds.
SAME = 1e-6


def _slack(step: Step) -> float:
    """How much too early a step may be begun: a loop that is called by the clock is called a little beside it."""
    return step.period / 4
