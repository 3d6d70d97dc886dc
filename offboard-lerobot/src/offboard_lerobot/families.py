"""How LeRobot's kinds of policies are asked for a chunk, and what of an episode each keeps.

All are asked by ``predict_action_chunk`` or, where that does not exist, by ``select_action``. What LeRobot keeps in
the policy itself between two calls belongs to an episode here: it is lent to the model for the call.
"""

# torch and LeRobot leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from lerobot.policies.utils import populate_queues
from lerobot.utils.constants import ACTION, OBS_IMAGE, OBS_IMAGES, OBS_STATE

from . import molmoact2
from .fast import refuse_what_stands_for_nothing
from .plugins import is_third_party

#: What an episode keeps; None: nothing.
Memory = dict[str, Any] | None


class Family:
    """Policies that look at one observation. ``batches``: whether several episodes can share a call.

    ``alike``: the inputs that must be the same in all of them.
    ``lookback``: the steps, from the observation on, of those that it looks at beside it; below 0, oldest first.
    ``draws``: whether it draws random numbers; ``steps``: what of the model says in how many steps it makes an action
    of noise, as (object, attribute), where a session may choose.
    """

    batches = True
    alike: Sequence[str] = ()
    lookback: Sequence[int] = ()

    def __init__(self, model: Any, draws: bool, steps: tuple[Any, str] | None = None) -> None:
        self.model = model
        self.draws = draws
        self.steps = steps

    def memory(self) -> Memory:
        """What an episode begins with."""
        return None

    def recalled(self, moments: Sequence[dict[str, Any]], count: int) -> Sequence[Memory]:
        """What ``count`` episodes keep that saw these prepared observations in turn, and nothing before."""
        raise NotImplementedError

    def chunk(
        self, ready: dict[str, Any], episodes: Sequence[Memory], **guided: Any
    ) -> tuple[torch.Tensor, Sequence[Memory]]:
        """(B, T, D) for B prepared observations, each of another episode, and what these keep from now on.

        ``guided``: what :class:`.Guidance` says of what is not played yet. What was given stays as it was: a call that
        fails leaves the episodes where they were.
        """
        return self.model.predict_action_chunk(ready, **guided), episodes


class OneStep(Family):
    """Policies of reinforcement learning, which answer one step and no chunk."""

    def chunk(
        self, ready: dict[str, Any], episodes: Sequence[Memory], **guided: Any
    ) -> tuple[torch.Tensor, Sequence[Memory]]:
        """See :meth:`Family.chunk`."""
        return self.model.select_action(ready)[:, None], episodes


class PicturesAlone(Family):
    """ACT that looks at no state. LeRobot asks one all the same, on which device it is."""

    def chunk(
        self, ready: dict[str, Any], episodes: Sequence[Memory], **guided: Any
    ) -> tuple[torch.Tensor, Sequence[Memory]]:
        """See :meth:`Family.chunk`."""
        return super().chunk({**ready, OBS_STATE: _of_no_numbers(ready)}, episodes)


class ThirdParty(Family):
    """Policies of which nothing is known but LeRobot's contract: nobody has compared what several get in one call."""

    batches = False


class LooksBack(Family):
    """Policies that keep their last observations in ``_queues``, each of a camera's or the state's (1, …)."""

    def __init__(self, model: Any, draws: bool, steps: tuple[Any, str] | None = None) -> None:
        super().__init__(model, draws, steps)
        self.lookback = tuple(at for at in model.config.observation_delta_indices if at < 0)

    def memory(self) -> Memory:
        """See :meth:`Family.memory`: queues as the model makes them itself."""
        self.model.reset()
        queues, self.model._queues = self.model._queues, {}
        return queues

    def chunk(
        self, ready: dict[str, Any], episodes: Sequence[Memory], **guided: Any
    ) -> tuple[torch.Tensor, Sequence[Memory]]:
        """See :meth:`Family.chunk`."""
        lent = self._seen(ready, episodes)
        try:
            self.model._queues = _joined(lent)
            return self._ask(ready), lent
        finally:
            self.model._queues = {}

    def recalled(self, moments: Sequence[dict[str, Any]], count: int) -> Sequence[Memory]:
        """See :meth:`Family.recalled`. The first fills the queues, as the first of an episode does."""
        episodes: Sequence[Memory] = [self.memory() for _ in range(count)]
        for ready in moments:
            episodes = self._seen(ready, episodes)
        return episodes

    def _seen(self, ready: dict[str, Any], episodes: Sequence[Memory]) -> list[dict[str, Any]]:
        """What each keeps with one observation more."""
        self._name_images(ready)
        kept: list[dict[str, Any]] = []
        for i, queues in enumerate(episodes):
            assert queues is not None
            own = {name: queue.copy() for name, queue in queues.items()}
            # A copy: a slice would keep the whole batch for as long as it is remembered.
            mine = {name: value[i : i + 1].clone() for name, value in ready.items() if name in own}
            kept.append(populate_queues(own, mine, exclude_keys=[ACTION]))
        return kept

    def _name_images(self, ready: dict[str, Any]) -> None:
        """Cameras under one name, as ``select_action`` puts them before it fills the queues."""
        if images := list(self.model.config.image_features):
            ready[OBS_IMAGES] = torch.stack([ready[name] for name in images], dim=-4)

    def _ask(self, ready: dict[str, Any]) -> torch.Tensor:
        return self.model.predict_action_chunk(ready)


class Plans(LooksBack):
    """TD-MPC: plans from the last plan on, one episode at a time, and answers (T, B, D)."""

    batches = False

    def chunk(
        self, ready: dict[str, Any], episodes: Sequence[Memory], **guided: Any
    ) -> tuple[torch.Tensor, Sequence[Memory]]:
        """See :meth:`Family.chunk`."""
        [episode] = episodes
        assert episode is not None
        self.model._prev_mean = episode.get(_PLAN)
        actions, [kept] = super().chunk(ready, [{name: q for name, q in episode.items() if name != _PLAN}])
        assert kept is not None
        return actions, [{**kept, _PLAN: self.model._prev_mean}]

    def _name_images(self, ready: dict[str, Any]) -> None:
        if images := list(self.model.config.image_features):
            ready[OBS_IMAGE] = ready[images[0]]
        if not self.model.config.robot_state_feature:  # LeRobot keeps one all the same, and does not look at it
            ready[OBS_STATE] = _of_no_numbers(ready)

    def _ask(self, ready: dict[str, Any]) -> torch.Tensor:
        actions: torch.Tensor = self.model.predict_action_chunk(ready).transpose(0, 1)
        repeats: int = self.model.config.n_action_repeats
        return actions[:, :1].repeat(1, repeats, 1) if repeats > 1 else actions


class OneByOne(Family):
    """FastWAM: several in a call are answered one after the other by LeRobot, too."""

    batches = False


class SameTask(Family):
    """GR00T: what fills a shorter text up to the length of another robot's would change what it answers."""

    alike = ("task",)


_PLAN = "the last plan"
#: Type → what of the policy reads the number of steps from its config, once.
_HEADS = {"evo1": "model.action_head", "groot": "_groot_model.action_head", "vla_jepa": "model.action_model"}


def family_of(kind: str, model: Any) -> Family:
    """How policies of this type are asked."""
    config = model.config
    if is_third_party(kind):
        return ThirdParty(model, draws=True)
    if kind == "tdmpc":
        return Plans(model, draws=config.use_mpc)
    if kind in ("sac", "gaussian_actor"):
        return OneStep(model, draws=True)
    queues = getattr(model, "_queues", None)
    if queues is not None and any(name != ACTION for name in queues):
        sampler = getattr(model, "diffusion", None)
        return LooksBack(model, draws=True, steps=None if sampler is None else (sampler, "num_inference_steps"))
    if kind == "fastwam":
        return OneByOne(model, draws=config.inference_seed is None, steps=(config, "num_inference_steps"))
    if kind == "molmoact2" and config.inference_action_mode == "discrete":
        molmoact2.refuse_what_stands_for_nothing(model)
        return Family(model, draws=False)
    if kind == "molmoact2" and config.num_inference_steps is None:
        config.num_inference_steps = model._backbone().config.flow_matching_num_steps
    for name in ("num_steps", "num_inference_steps", "num_denoising_steps", "num_denoise_steps"):
        if isinstance(getattr(config, name, None), int):
            return Family(model, draws=True, steps=(config, name))
    if kind in _HEADS:
        asked = SameTask if kind == "groot" else Family
        return asked(model, draws=True, steps=(attrgetter(_HEADS[kind])(model), "num_inference_timesteps"))
    if kind == "act" and not config.robot_state_feature:
        return PicturesAlone(model, draws=False)
    if kind == "pi0_fast":
        refuse_what_stands_for_nothing(model)
    return Family(model, draws=kind != "act" and getattr(config, "temperature", 1.0) > 0)


def _of_no_numbers(ready: dict[str, Any]) -> torch.Tensor:
    """A state for those who need one and read nothing of it: for each robot, beside what else is ready."""
    beside = next(value for name, value in ready.items() if name.startswith("observation."))
    return beside.new_empty((len(beside), 0))


def _joined(episodes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The queues of several episodes as those of one batch."""
    if len(episodes) == 1:
        return episodes[0]
    joined = {}
    for name, first in episodes[0].items():
        moments = zip(*(queues[name] for queues in episodes), strict=True)
        joined[name] = deque((torch.cat(moment) for moment in moments), maxlen=first.maxlen)
    return joined
