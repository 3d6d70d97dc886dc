"""The step that puts a state into the prompt, given it as its policy was trained. Imports lerobot."""

# LeRobot has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import torch
from lerobot.processor import ProcessorStep, TransitionKey
from lerobot.utils.constants import OBS_STATE


class Worded(ProcessorStep):
    """``step``, which is told a state that is filled up with zeros to ``length``, and fills nothing up itself."""

    def __init__(self, step: Any, length: int) -> None:
        self._step, self._length = step, length
        step.max_state_dim = 0  # up to which 0.4 would fill it

    def __call__(self, transition: Any) -> Any:
        """What the step makes of it; the observation stays as it is."""
        observation = transition[TransitionKey.OBSERVATION]
        state: torch.Tensor = observation[OBS_STATE]
        zeros = state.new_zeros(*state.shape[:-1], max(0, self._length - state.shape[-1]))
        told = {**transition, TransitionKey.OBSERVATION: {**observation, OBS_STATE: torch.cat([state, zeros], -1)}}
        return {**self._step(told), TransitionKey.OBSERVATION: observation}

    def transform_features(self, features: Any) -> Any:
        """As the step says."""
        return self._step.transform_features(features)


__all__ = ["Worded"]
