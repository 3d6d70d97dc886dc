"""Real-time chunking: LeRobot's flow policies go on from what the robot has not played yet.

LeRobot's own loop keeps a second chunk for it, as the model answered it. Here the robot says what it has left, in its
own terms, and the model is given what the checkpoint's preprocessor makes of these actions, as it did in training:
normalised, and relative ones from the present state on.
"""

# LeRobot leaves much of what it takes and gives untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from lerobot.policies.rtc.configuration_rtc import RTCConfig
from offboard_client.errors import BadObservation
from offboard_client.plugins import changeable

from .values import MOST_WEIGHT

#: What LeRobot 0.4, whose policies do not say it, guides. Its pi0_fast takes the arguments and does nothing with them.
_GUIDED = ("pi0", "pi05", "smolvla")
#: How far from 0 what a robot says that it is going to play may be in the model's terms, where the actions of its
#: training are around 1. The model would be drawn there, and answer it.
_FARTHEST = 100.0
#: And in the robot's terms, for a number that hardly moved in training, or not at all, where a robot's rounding is as
#: far: by so much of the spread of those that did move, of the middle one. The model is shown the middle of its
#: training there, so what is more would be a jump from what the robot plays to what the answer says.
_ACROSS = 0.1
#: A number hardly moved whose spread is less than so much of the largest, of which 100 are next to nothing.
_HARDLY = 1e-4
#: Where none of them did, nothing is too far to be shown the middle: the model says nothing else, whatever it is shown.
_NOTHING_MOVED = 1e30


class Guidance:
    """``max_delay_steps``: the largest delay that a model was trained for; None for one that is guided in each step."""

    def __init__(self, model: Any, rows: torch.Tensor, back: torch.Tensor, slopes: torch.Tensor) -> None:
        """Makes ``model`` ready for it; what it answers to whoever leaves nothing over stays as it was.

        ``rows`` (K, D): a robot's, of steps all over the model's range, and ``back`` the same in the model's terms,
        which may have more numbers than a robot has. ``slopes``: how far in its terms one of the robot's units is.
        """
        # A number that was constant in training. Divided by no spread at all, a robot's rounding would be a command.
        still = (rows.amax(0) - rows.amin(0) <= 1e-6 * (1 + rows.abs().amax(0))).to(back.device)
        self._still = torch.nn.functional.pad(still, (0, back.shape[1] - len(still)))
        self._rest = back[0]
        spreads = 1 / slopes[: len(still)][~still].abs()
        moved = spreads[spreads >= _HARDLY * spreads.amax()].sort().values if len(spreads) else spreads
        # The middle one: the least may be of another unit, as a gripper's, or of a joint that only trembled.
        across = _ACROSS * moved[(len(moved) - 1) // 2].item() if len(moved) else _NOTHING_MOVED
        hardly = 1 / slopes.abs() < _HARDLY * (spreads.amax() if len(spreads) else _NOTHING_MOVED)
        hardly[: len(still)] |= still.to(hardly.device)
        self._farthest = torch.where(hardly, (across * slopes.abs()).clamp_min(_FARTHEST), _FARTHEST)
        config = model.config
        asked = getattr(config, "rtc_config", None)
        found: Any = RTCConfig() if asked is None else asked
        most = int(getattr(config, "rtc_training_max_delay", 0))
        if asked is None and most and hasattr(found, "mode"):
            found = replace(found, mode="trained")
        # Only while something is left over: MolmoAct2 draws its noise otherwise where it is on.
        self._config: Any = replace(found, enabled=False, debug=False)
        self.max_delay_steps = most if getattr(self._config, "mode", "guided") == "trained" else None
        self._longest: int = config.chunk_size
        config.rtc_config = self._config
        model.init_rtc_processor()
        # Guidance is a gradient along the action; none of the weights is needed.
        model.requires_grad_(False)

    def params(self) -> type:
        """What a session may tune of it."""
        horizon, weight = self._config.execution_horizon, self._config.max_guidance_weight

        @dataclass(frozen=True, kw_only=True)
        class GuidanceParams:
            execution_horizon: int = changeable(horizon)
            """How many steps of what is not played yet a chunk leans on, the less the later; at least the delay."""
            max_guidance_weight: float = changeable(weight)
            """How strongly, at most."""

            def __post_init__(self) -> None:
                if self.execution_horizon < 1:
                    raise ValueError(f"execution_horizon is {self.execution_horizon}, expected 1 or more steps")
                if not 0 < self.max_guidance_weight <= MOST_WEIGHT:
                    raise ValueError(
                        f"max_guidance_weight is {self.max_guidance_weight}, expected a number above 0, of at most "
                        f"{MOST_WEIGHT:g}"
                    )

        return GuidanceParams

    def arguments(self, left_over: torch.Tensor | None, delay: int, params: Any) -> Mapping[str, Any]:
        """For ``predict_action_chunk``. ``left_over``: (B, K, D) in the model's terms, the first due now, if any.

        Raises BadObservation where that holds what is not finite, or is far from all that the model was trained on: in
        the model's terms, and for a number that hardly moved in training in the robot's, too.
        """
        self._config.enabled = left_over is not None
        if left_over is None:
            return {}
        left_over = left_over[..., : len(self._still)]
        if not torch.isfinite(left_over).all():
            raise BadObservation("the prefix holds what is no finite number in the model's terms")
        if bool((beyond := left_over.abs() > self._farthest).any()):
            far, which = float(left_over[beyond].abs().max()), int(beyond.nonzero()[0, -1])
            raise BadObservation(
                f"the prefix is no continuation of what the model answers: the number {which} of a step is {far:.4g} "
                f"in the model's terms, where its training had about 1, and at most {_FARTHEST:g} is followed"
            )
        # In a number that hardly moved in training, that is a robot next to it: the model is shown its middle.
        left_over = torch.where(left_over.abs() > _FARTHEST, 0.0, left_over)
        left_over = torch.where(self._still, self._rest, left_over)
        delay = min(delay, left_over.shape[1])
        # A step that will have been played is no matter of taste, however short the horizon.
        horizon = min(max(params.execution_horizon, delay), self._longest)
        self._config.max_guidance_weight = params.max_guidance_weight
        # Not filled up with zeros, as LeRobot's loop does for a compiler: the model would be drawn to what those mean.
        return {
            "prev_chunk_left_over": left_over[:, :horizon],
            "inference_delay": delay,
            "execution_horizon": horizon,
        }


def width_said(kind: str, model: Any, answered: int) -> int:
    """How many numbers a step has in the model's terms, where ``answered`` are sent."""
    return int(model.config.max_action_dim) if kind == "evo1" else answered


def is_guided(kind: str, model: Any) -> bool:
    """Whether LeRobot guides policies of this type.

    Not one that turns its answers into another robot's terms after it has made them: LeRobot has no way back.
    """
    supports = getattr(model, "supports_rtc", None)
    guided = supports() if callable(supports) else kind in _GUIDED
    ready = hasattr(model, "init_rtc_processor") and hasattr(model.config, "chunk_size")
    return bool(guided and ready and not getattr(model.config, "adapt_to_pi_aloha", False))
