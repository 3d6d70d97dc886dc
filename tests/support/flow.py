"""A small policy that samples, as flow and diffusion policies do: which of two ways it goes is a matter of its noise.

It takes all that an observation may bring: a seed, the steps that are not played yet with the delay, and one moment of
history. Its model's terms are not the robot's: a joint of 1 rad is 10 to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from offboard_core import Chunk, Codec, CodecEntry, CodecMeta, Field, InferContext, Policy, Session, hookimpl

STEPS, JOINTS, SCALE, FPS, MOST_DELAY = 16, 3, 10.0, 10.0, 6
#: How far a joint goes in one step, in rad.
STRIDE = 0.02


class FlowSession(Session):
    def __init__(self, policy: "FlowPolicy") -> None:
        self._policy = policy

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        self._policy.told.append(context)
        random = np.random.default_rng(context.seed)
        way = random.choice([-1.0, 1.0], JOINTS)
        noise = random.normal(0, 0.001, (STEPS, JOINTS))
        state = inputs["state"]
        if context.history:
            way = np.sign(state - context.history[0]["state"])
        if context.prefix is not None:
            assert isinstance(context.prefix.action, np.ndarray)
            way = np.sign(context.prefix.action[-1] - state)
        plan = state + SCALE * STRIDE * way * np.arange(1, STEPS + 1)[:, None] + noise
        return Chunk(_follow(plan, context.prefix, context.delay_steps))


def _follow(plan: np.ndarray, prefix: Chunk | None, delay: int) -> np.ndarray:
    """The steps that will have been played are as they were; from there on the plan takes over by and by."""
    if prefix is None:
        return plan
    before = prefix.action[: len(plan)]
    weight = np.clip((len(before) - np.arange(len(before))) / (len(before) - delay + 1), 0, 1)[:, None]
    weight[:delay] = 1
    return np.concatenate([weight * before + (1 - weight) * plan[: len(before)], plan[len(before) :]])


class FlowPolicy(Policy[FlowSession]):
    """``told``: the contexts that it was given."""

    context = frozenset({"prefix", "delay_steps", "seed", "history"})
    max_delay_steps = MOST_DELAY
    history_sec = (-0.1,)
    max_batch_size = 4
    meta = {"chunk_length": STEPS}

    def __init__(self) -> None:
        self.told: list[InferContext] = []

    def new_session(self, params: Any) -> FlowSession:
        return FlowSession(self)


@dataclass(frozen=True)
class Scaled(Codec):
    """Joints in rad, ten times as large to the model; both ways."""

    @property
    def meta(self) -> CodecMeta:
        return CodecMeta(
            observation={
                "robot_state.q": Field(shape=(JOINTS,), dtype="float32", unit="rad"),
                "task": Field(dtype="str", required=False),
            },
            action={"target_joints": Field(shape=(JOINTS,), unit="rad", kind="absolute_joints")},
            action_fps=FPS,
        )

    def encode(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": np.asarray(observation["robot_state.q"], np.float64) * SCALE}

    def decode(self, chunk: Chunk, observation: Mapping[str, Any]) -> Chunk:
        return Chunk({"target_joints": chunk.columns()["action"] / SCALE}, np.arange(len(chunk)) / FPS)

    def encode_actions(self, chunk: Chunk, observation: Mapping[str, Any]) -> Chunk:
        return Chunk({"action": chunk.columns()["target_joints"] * SCALE})


class Rounded(Scaled):
    """The same, and what it sent cannot be had back."""

    @property
    def one_way(self) -> str | None:
        return "joints are rounded to degrees"


class FlowPlugin:
    """Offers both."""

    @hookimpl
    def offboard_codecs(self):
        yield CodecEntry(name="scaled", summary="Ten times.", factory=lambda options, checkpoint: Scaled())
        yield CodecEntry(name="rounded", summary="Loses.", factory=lambda options, checkpoint: Rounded())
