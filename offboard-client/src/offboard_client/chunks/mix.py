"""Between two actions of one moment: what is a number is averaged, what is a rotation turned, what grips decides."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..robots import Vector, mean_pose
from ..wire import POSES
from .steps import Step

#: ACT's temporal ensembling: an answer that is i answers younger than the oldest counts exp(-i * this).
ENSEMBLE_DECAY = 0.01
#: So many actions wait for one another at most, so that the first look takes a fraction of a control period.
_DEEPEST = 8


def mixed(actions: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    """The weighted mean of actions of one moment, the newest last. Weights count relative to their sum.

    Rotations are averaged as rotations, the gripper does what the newest says. A name that not all of them have in one
    shape is the newest's as well.
    """
    share: Vector = np.asarray(weights, np.float64) / np.sum(weights)
    newest = actions[-1]
    made = dict[str, Any]()
    for name, value in newest.items():
        values = [np.asarray(action[name], np.float64) for action in actions if name in action]
        alike = len(values) == len(actions) and all(each.shape == values[-1].shape for each in values)
        if _is_decided(name) or not alike:
            made[name] = value
        elif name.partition(".")[0] in POSES:
            made[name] = mean_pose(np.array(values), share)
        else:
            made[name] = (share @ np.array(values).reshape(len(values), -1)).reshape(values[-1].shape)
    return made


class Made(Mapping[str, Any]):
    """An action that is made when it is first looked at: most are replaced before they are played."""

    def __init__(self, make: Callable[[], Mapping[str, Any]], depth: int = 1) -> None:
        """``depth``: so many of them are made one of the other, this one included."""
        self._make: Callable[[], Mapping[str, Any]] | None = make
        self._action: Mapping[str, Any] = {}
        self.depth = depth

    def __getitem__(self, name: str) -> Any:
        return self._looked_at()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._looked_at())

    def __len__(self) -> int:
        return len(self._looked_at())

    def _looked_at(self) -> Mapping[str, Any]:
        if self._make is not None:
            self._action, self._make, self.depth = self._make(), None, 0
        return self._action


def made_of(actions: Sequence[Mapping[str, Any]], make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What ``make`` makes of ``actions``, when it is first looked at; at once where they wait for others in turn.

    What is left of an answer may be mixed with hundreds of later ones before it is played.
    """
    depth = 1 + max(action.depth if isinstance(action, Made) else 0 for action in actions)
    return Made(make, depth) if depth <= _DEEPEST else make()


def at(steps: Sequence[Step], due: float) -> Mapping[str, Any] | None:
    """What a chunk has at a moment, in a straight line between its steps; None before its first and after its last."""
    if not steps or not steps[0].due - _SAME <= due <= steps[-1].due + _SAME:
        return None
    later = bisect_left(steps, due - _SAME, key=lambda step: step.due)
    if later == 0 or steps[later].due - due <= _SAME:
        return steps[later].action
    before, after = steps[later - 1], steps[later]
    part = (due - before.due) / (after.due - before.due)
    both, shares = [before.action, after.action], [1 - part, part]
    return made_of(both, lambda: {**mixed(both, shares), **_decided(before.action)})


def shares(answers: Sequence[Sequence[Step]], due: float, now: float) -> list[float]:
    """How much each answer counts of what an ensemble says of a moment, the oldest first; relative to one another.

    ``now``, where the newest is asked for in every step, these are ACT's weights. Until the next one comes, which may
    be never, each fades to its end, that nothing jumps to those that go on. For the same reason those that end at once,
    as of a motion that is planned anew until it is over, end a step apart, as equally long answers do by themselves.
    """
    found, end = [1.0], answers[-1][-1].until
    for steps in reversed(answers[:-1]):
        end = min(steps[-1].until, end - steps[-1].period)
        found.append(min((end - due) / (end - now), 1.0) if due < end - _SAME and now < end else 0.0)
    speaking = sum(share > 0 for share in found)
    return [share * math.exp(ENSEMBLE_DECAY * (i - speaking)) for i, share in enumerate(found, 1)][::-1]


#: Moments that differ by less are the same one, in seconds.
_SAME = 1e-6


def _decided(action: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in action.items() if _is_decided(name)}


def _is_decided(name: str) -> bool:
    """Whether it is no number to be averaged, of whichever arm: half a grasp is none."""
    return name.partition(".")[0] == "target_grip"
