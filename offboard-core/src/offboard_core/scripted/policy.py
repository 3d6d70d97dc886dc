"""The controller as a policy: a state vector in, a chunk of action vectors out, like a network's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, BadParameter
from offboard_client.plugins import changeable
from offboard_client.robots.sim import COLOURS, StackTask

from ..codecs import ActionSplit, StateVector, TaskText, timed
from ..types import (
    ALONE,
    Checkpoint,
    CheckpointLoader,
    Chunk,
    Codec,
    CodecMeta,
    InferContext,
    NoParams,
    Placement,
    Policy,
    ReportProgress,
    Session,
)
from .plan import FPS, MAX_STEPS, MIN_STEPS, SLOWEST, SPEED, State, hold, plan_step

#: What the state vector is made of, in this order.
_PARTS = {"robot_state.ee_pose": 7, "grip": 1, **{f"sim.objects.{colour}_cube": 7 for colour in COLOURS}}


@dataclass(frozen=True, kw_only=True)
class ScriptedParams:
    """What a session may tune."""

    speed: float = changeable(SPEED)
    """The fastest that a target moves, in m/s."""
    rest: float = changeable(0.0)
    """How long it stands still when the task is done, in seconds: who learns from it is to see the end, too."""

    def __post_init__(self) -> None:
        if not SLOWEST <= self.speed <= SPEED:
            raise ValueError(f"speed is {self.speed:g} m/s, expected {SLOWEST:g} to {SPEED:g}")
        if self.rest != 0 and not MIN_STEPS <= self.rest * FPS <= MAX_STEPS:
            raise ValueError(f"rest is {self.rest:g} s, expected 0, or {MIN_STEPS / FPS:.2g} to {MAX_STEPS / FPS:g}")


class ScriptedSession(Session):
    """One episode. What to do next is read off the observation; it remembers only whether it has rested."""

    def __init__(self, params: ScriptedParams) -> None:
        self.params = params
        self._rested = False

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk | None:
        """``state`` (29,) and ``task`` (red on green without one) to ``action`` (T, 8); no steps when it is done.

        Raises BadObservation for a task it does not know, or a pose whose quaternion is no rotation.
        """
        try:
            task = StackTask.parse(inputs["task"]) if "task" in inputs else StackTask()
        except BadParameter as error:
            raise BadObservation(error.text) from None
        parts = dict(zip(_PARTS, np.split(inputs["state"], np.cumsum(list(_PARTS.values()))[:-1]), strict=True))
        poses = {name: _pose(name, value) for name, value in parts.items() if name != "grip"}
        state = State(
            tcp=poses["robot_state.ee_pose"],
            grip=float(parts["grip"][0]),
            top=poses[f"sim.objects.{task.top}_cube"],
            bottom=poses[f"sim.objects.{task.bottom}_cube"],
            speed=self.params.speed,
        )
        plan = plan_step(state)
        done, rested = not len(plan), self._rested
        self._rested = done
        return Chunk(hold(state, 0.0, self.params.rest) if done and not rested else plan)


class ScriptedPolicy(Policy[ScriptedSession]):
    """Nothing to own. A plan takes a fraction of a millisecond, so a batch saves the hops between threads."""

    max_batch_size = 32
    params = ScriptedParams
    meta = {"chunk_length": MAX_STEPS, "shortest_chunk": MIN_STEPS}

    def new_session(self, params: ScriptedParams) -> ScriptedSession:
        """See :meth:`Policy.new_session`."""
        return ScriptedSession(params)


class ScriptedLoader(CheckpointLoader):
    """There is nothing to load."""

    def __init__(self, options: NoParams) -> None:
        pass

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> ScriptedPolicy:
        """See :meth:`CheckpointLoader.load`."""
        return ScriptedPolicy()


@dataclass(frozen=True, kw_only=True)
class SceneState(StateVector):
    """The state vector, saying of the cubes' poses that they are poses."""

    @property
    def meta(self) -> CodecMeta:
        """See :meth:`Codec.meta`."""
        meta = super().meta
        pose = meta.observation["robot_state.ee_pose"]
        cubes = {name: pose for name in self.parts if name.startswith("sim.objects.")}
        return replace(meta, observation={**meta.observation, **cubes})


def make_codec(options: NoParams, checkpoint: Checkpoint) -> Codec:
    """The robot's state and the cubes' poses as one vector; (T, 8) as target pose and grip."""
    parts = {"target_pose": 7, "target_grip": 1}
    return timed(SceneState(name="state", parts=_PARTS) & TaskText() & ActionSplit(parts=parts), FPS)


def _pose(name: str, value: Any) -> Any:
    length = float(np.linalg.norm(value[3:]))
    if abs(length - 1) > 0.01:
        raise BadObservation(f"the quaternion of {name} (w x y z) has length {length:.3f}; a rotation has length 1")
    return np.concatenate([value[:3], value[3:] / length]).astype(np.float64)
