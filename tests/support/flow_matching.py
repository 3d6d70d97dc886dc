"""A flow-matching policy that is known in closed form, with real-time chunking at inference and in training.

Each joint goes on from where it is at a speed of its own, as likely this way as that, and with a little noise: a normal
distribution of trajectories, whose velocity field needs no network. How fast and which way is a matter of the noise
that an answer starts from, so two answers agree only where the second is told of the first.
"""

from typing import Any, Literal

import numpy as np
from flow import JOINTS, SCALE, STRIDE
from numpy.typing import NDArray
from offboard_core import Chunk, InferContext, Policy, Session

Array = NDArray[np.float64]
Form = Literal["guided", "trained"]

#: ``CHUNK`` steps an answer, of ``EULER`` steps of the flow each; ``HARD``: the trained form's largest delay, in steps.
CHUNK, EULER, HARD = 20, 10, 4
#: How far a joint goes in a step, one standard deviation, in the model's terms.
STEP = SCALE * STRIDE
#: As LeRobot's ``max_guidance_weight``.
MOST_GUIDANCE = 10.0

_STEPS = np.arange(CHUNK)
#: The flow is about what each step adds, as a share of ``STEP``: of a joint much the same in all, but for some noise.
#: A speed that was kept for ever would grow from answer to answer, as guidance leads a little too far each time.
_COVARIANCE = np.exp(-np.abs(_STEPS[:, None] - _STEPS) / CHUNK) + 0.3**2 * np.eye(CHUNK)


def sampled(noise: Array, prefix: Array, delay: int, form: Form) -> Array:
    """What the steps (T, D) add. ``prefix`` (n, D): those not played yet, ``delay`` of which will have been."""
    known = prefix[:delay] if form == "trained" else prefix[:0]
    done = len(known)
    # Of what is free, given what is known.
    led = np.linalg.solve(_COVARIANCE[:done, :done], _COVARIANCE[:done, done:]).T
    mean = led @ known
    covariance = _COVARIANCE[done:, done:] - led @ _COVARIANCE[:done, done:]

    x, wanted, weight = noise[done:].copy(), np.zeros_like(noise), mask(len(prefix), delay)
    wanted[: len(prefix)] = prefix
    for t in np.arange(EULER) / EULER:
        derivative = t * covariance @ np.linalg.inv((1 - t) ** 2 * np.eye(len(x)) + t**2 * covariance)
        expected = mean + derivative @ (x - t * mean)
        velocity = (expected - x) / (1 - t)
        if form == "guided":
            velocity += guidance(t) * derivative.T @ (weight[:, None] * (wanted - expected))
        x += velocity / EULER
    return np.concatenate([known, x])


def mask(left: int, delay: int) -> Array:
    """How much each step is bound to what is not played yet, (T,): wholly up to the delay, then ever less."""
    weight = np.zeros(CHUNK)
    weight[:delay] = 1
    rest = (left - np.arange(delay, left)) / (left - delay + 1)
    weight[delay:left] = rest * np.expm1(rest) / np.expm1(1)
    return weight


def guidance(t: float) -> float:
    """How strongly the flow is led at the time ``t``."""
    spread = (1 - t) ** 2 / (t**2 + (1 - t) ** 2)
    return MOST_GUIDANCE if t == 0 else min(MOST_GUIDANCE, (1 - t) / (t * spread))


class FlowMatchingSession(Session):
    def __init__(self, policy: "FlowMatching") -> None:
        self._policy = policy

    def infer(self, inputs: Any, context: InferContext) -> Chunk:
        policy = self._policy
        policy.told.append(context)
        prefix = np.zeros((0, JOINTS)) if context.prefix is None else np.asarray(context.prefix.action, np.float64)
        before = np.diff(prefix[:CHUNK], axis=0, prepend=inputs["state"][None]) / STEP
        noise = policy.random.normal(size=(CHUNK, JOINTS))
        adds = sampled(noise, before, context.delay_steps, policy.form)
        return Chunk(inputs["state"] + STEP * adds.cumsum(axis=0))


class FlowMatching(Policy[FlowMatchingSession]):
    """``told``: the contexts that it was given."""

    context = frozenset({"prefix", "delay_steps"})

    def __init__(self, form: Form, seed: int = 0) -> None:
        self.form: Form = form
        self.max_delay_steps = HARD if form == "trained" else None
        self.random = np.random.default_rng(seed)
        self.told: list[InferContext] = []

    def new_session(self, params: Any) -> FlowMatchingSession:
        return FlowMatchingSession(self)
