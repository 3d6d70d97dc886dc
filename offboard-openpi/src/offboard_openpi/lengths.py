"""How many steps every answer to an openpi robot has.

openpi's ``ActionChunkBroker`` plays a fixed number of each answer and ends in an IndexError, in mid-episode, where
there are fewer. So what is told it as ``chunk_length`` is kept: an answer with fewer steps is filled up with steps in
which the robot stays where it is, or it is an error before its first step; and a model that is known to answer fewer
gets no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from offboard_client.errors import DialectUnsupported
from offboard_core.frontends import chunk_lengths
from offboard_core.types import Array, Field

from .options import MOST_STEPS, OpenPIFrontendOptions

#: What is played once more where a robot is to stay; steps and velocities are nothing then.
_TARGETS = {"absolute_pose", "absolute_joints", "grip"}
_STEPS = {"joint_delta", "joint_velocity", "pose_delta"}
#: Position, and a quaternion w x y z of no rotation.
_NO_MOVE = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)

#: One number for each column of the actions: what it is while the robot stays, NaN for what it was before.
Still = Array


def still(action: Mapping[str, Field]) -> Still | None:
    """What a robot plays to stay where it is. ``action``: each part of its actions, in order.

    None where nobody knows what a number is: what holds an arm in one convention moves it in another.
    """
    row = list[float]()
    for field in action.values():
        width = field.shape[0] if field.shape is not None and len(field.shape) == 1 else -1
        if width < 0 or field.kind not in _TARGETS | _STEPS:
            return None
        if field.kind in _TARGETS:
            row += [np.nan] * width
        else:
            row += _NO_MOVE if field.kind == "pose_delta" and width == len(_NO_MOVE) else [0.0] * width
    return np.array(row) if row else None


class Lengths:
    """What one session was promised of its answers' lengths, and how that is kept.

    :meth:`promise` comes first. ``stay``: of :func:`still`.
    """

    def __init__(self, options: OpenPIFrontendOptions, stay: Still | None) -> None:
        self._options = options
        self._stay = stay
        # What every answer has: one without a step is refused.
        self._least = 1

    def promise(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """What the metadata says of it, of a model's ``meta``. Raises DialectUnsupported where that cannot be kept."""
        shortest, longest = chunk_lengths(meta)
        wanted, hold = self._options.action_horizon, self._options.short_chunks == "hold"
        if hold and wanted is None and longest is None:
            raise DialectUnsupported(
                "serve with --openpi.action_horizon N, the steps that the robots play of each answer: nothing says how "
                "long this model's are, and so to what length --openpi.short_chunks hold is to fill them"
            )
        if wanted is None and hold:
            wanted = longest
        if wanted is not None and wanted > MOST_STEPS:
            raise DialectUnsupported(
                f"serve with --openpi.action_horizon N, {MOST_STEPS} at most: the model says that its answers have up "
                f"to {wanted} steps, and no answer is filled up to more"
            )
        falls_short = wanted is not None and shortest is not None and shortest < wanted
        if hold and self._stay is None and (falls_short or shortest is None):
            raise DialectUnsupported(
                "serve with --openpi.codec, or with a --codec that names its actions: nothing says what these numbers "
                "are, and so not which hold the robot, as --openpi.short_chunks hold would send them"
            )
        if falls_short and not hold:
            ways = ["--openpi.short_chunks hold"] if self._stay is not None else []
            raise DialectUnsupported(
                f"serve with {' or '.join([*ways, f'--openpi.action_horizon {shortest}'])}: the model answers "
                f"{shortest}{'' if shortest == longest else f' to {longest}'} steps, the robots play {wanted} of each"
            )
        self._least = max(1, wanted or 0, shortest or 0)
        return {"chunk_length": self._least, "short_chunks": self._options.short_chunks}

    def keep(self, actions: Array) -> Array:
        """``actions`` (T, D), T at least what was promised. Raises DialectUnsupported where it is less, unfilled.

        Of no step at all nobody knows where the robot is to stay, and openpi's protocol has no word for it.
        """
        if not len(actions):
            raise DialectUnsupported(
                "the model answered no step at all; openpi's robots play at least one of each answer"
            )
        missing = self._least - len(actions)
        if missing <= 0:
            return actions
        if self._options.short_chunks != "hold" or self._stay is None:
            raise DialectUnsupported(
                f"the model answered {len(actions)} steps, where the robot counts on {self._least} of each answer and "
                f"openpi's ActionChunkBroker dies of fewer; serve with --openpi.action_horizon {len(actions)} or less, "
                "with --openpi.short_chunks hold, or with a codec that keeps more (--codec.horizon_sec)"
            )
        if self._stay.shape != actions.shape[1:]:
            raise DialectUnsupported(
                f"the model answered {actions.shape[1:]} numbers in each step, and what holds the robot has "
                f"{self._stay.shape}; serve with --openpi.short_chunks refuse, or with the codec that it was trained "
                "with"
            )
        row = np.where(np.isnan(self._stay), actions[-1], self._stay).astype(actions.dtype)
        return np.concatenate([actions, np.tile(row, (missing, 1))])
