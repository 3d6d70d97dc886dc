"""A LeRobot policy on this machine's device, serving many episodes."""

# torch and LeRobot leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lerobot.utils.constants import ACTION
from offboard_client.errors import BadObservation, InvalidAction, ModelLost, OffboardError, PolicyFailed, told
from offboard_core.process import collect
from offboard_core.types import Chunk, Field, Health, InferContext, Item, Policy, Session, is_array, is_image

from .device import broken
from .draws import seeded
from .families import Memory, family_of
from .files import Files
from .sampling import sampling_params

log = logging.getLogger(__name__)

Inputs = Mapping[str, Any]
_OWN_PAST = (
    "the model takes what it was sent before in this episode for what it was trained to look back at, one step of the "
    "robot apart: send an observation at each step, or it sees a faster world than the robot is in"
)
#: Steps of a flow that a session may ask for: nothing in how it was trained bounds them.
_MOST_STEPS = 100


class LeRobotSession(Session):
    """One episode. ``memory``: what it keeps of what was, for policies that look back; None for those that do not."""

    def __init__(self, policy: LeRobotPolicy, params: Any) -> None:
        self._policy = policy
        self.params = params
        self.closed = False
        self.memory: Memory = None
        self.reset()

    def infer(self, inputs: Inputs, context: InferContext) -> Chunk | None:
        """See :meth:`Session.infer`."""
        [answer] = self._policy.infer_many([Item(self, inputs, context)])
        if isinstance(answer, OffboardError):
            raise answer
        return answer

    def reset(self) -> None:
        """Forget what was observed."""
        self.memory = self._policy.blank_memory()

    def close(self) -> None:
        """Let go of the observations."""
        self.closed, self.memory = True, None


class LeRobotPolicy(Policy[LeRobotSession]):
    """``model``: a PreTrainedPolicy in evaluation mode on ``device``, with its own pre- and postprocessors.

    A chunk is (T, D) float32 in the units of the training data, post-processed as a whole. Those that draw random
    numbers take a seed; those that make an action of noise step by step, how many steps.
    """

    def __init__(
        self, model: Any, preprocess: Any, postprocess: Any, files: Files, device: torch.device, max_batch_size: int
    ) -> None:
        self._model: Any = model
        self._preprocess: Any = preprocess
        self._postprocess: Any = postprocess
        self._device = device
        # A GPU multiplies by the reciprocal of a number; by a tensor it divides, as LeRobot does before it sends.
        self._white = torch.tensor(255.0, device=device)
        self._inputs: Mapping[str, Field] = files.inputs
        self._action_shape = files.outputs[ACTION].shape
        family = family_of(files.type, model)
        self._family: Any = family
        self.history_steps = family.lookback
        self.context = frozenset({"seed"} if family.draws else ()) | frozenset({"history"} if family.lookback else ())
        if family.steps is not None:
            steps: int = getattr(*family.steps)
            scheduler = getattr(family.steps[0], "noise_scheduler", None)
            self.params = sampling_params(
                steps, max(steps, _MOST_STEPS) if scheduler is None else scheduler.config.num_train_timesteps
            )
        self.max_batch_size = max_batch_size if family.batches else 1
        meta: dict[str, Any] = {
            "device": str(device),
            "policy_type": files.type,
            "chunk_length": files.checkpoint("", "").chunk_length,
            "n_obs_steps": model.config.n_obs_steps,
        }
        if family.lookback:
            meta["context_absent"] = {"history": _OWN_PAST}
        self.meta = meta
        self._health = Health()
        self._amp = device.type == "cuda" and model.config.use_amp

    def new_session(self, params: Any) -> LeRobotSession:
        """See :meth:`Policy.new_session`."""
        return LeRobotSession(self, params)

    def infer_many(self, batch: Sequence[Item[LeRobotSession]]) -> list[Chunk | OffboardError | None]:
        """See :meth:`Policy.infer_many`."""
        results: list[Chunk | OffboardError | None] = [None] * len(batch)
        sound: list[int] = []
        for i, item in enumerate(batch):
            try:
                self._check(item)
                sound.append(i)
            except (BadObservation, PolicyFailed) as error:
                results[i] = error.with_traceback(None)
        groups = self._groups(batch, sound)
        while groups:
            group = groups.pop()
            try:
                chunks = self._predict([batch[i] for i in group])
            except Exception as error:
                if (why := broken(self._device)) is not None:
                    log.exception("the policy failed, and its device with it")
                    self._health = Health("failed", why)
                    for i in (i for lost in (group, *groups) for i in lost):
                        results[i] = ModelLost(why)
                    break
                if len(group) > 1:
                    # One robot's input broke the batch; by themselves the others will do.
                    groups += [[i] for i in group]
                    continue
                log.exception("the policy failed on one observation")
                text = f"the policy raised {told(error)}. The server's log has the traceback"
                results[group[0]] = error if isinstance(error, OffboardError) else PolicyFailed(text)
                continue
            for i, chunk in zip(group, chunks, strict=True):
                results[i] = chunk
        return results

    def health(self) -> Health:
        """See :meth:`Policy.health`: failed once nothing can be computed on the device any more."""
        return self._health

    def batch_key(self, item: Item[LeRobotSession]) -> Hashable:
        """See :meth:`Policy.batch_key`. A call has one number of steps, too."""
        return super().batch_key(item), item.session.params

    def blank_memory(self) -> Memory:
        """What an episode begins with."""
        return self._family.memory()

    def close(self) -> None:
        """Drop the weights and give the device's memory back."""
        self._model = self._preprocess = self._postprocess = self._family = None
        collect()
        if self._health.state == "failed":
            return  # the device would fail at that, too
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def _groups(self, batch: Sequence[Item[LeRobotSession]], sound: Sequence[int]) -> list[list[int]]:
        """Which items share a call."""
        if not self._family.batches:
            return [[i] for i in sound]
        groups: dict[Hashable, list[int]] = {}
        for i in sound:
            groups.setdefault(self.batch_key(batch[i]), []).append(i)
        return list(groups.values())

    def _check(self, item: Item[LeRobotSession]) -> None:
        if item.session.closed:
            raise PolicyFailed("the session is closed")
        for inputs in (item.inputs, *item.context.history):
            self._check_inputs(inputs)

    def _check_inputs(self, inputs: Inputs) -> None:
        for name, field in self._inputs.items():
            value = inputs.get(name)
            if not is_array(value) or value.shape != field.shape or value.dtype != field.dtype:
                found = f"{value.shape} {value.dtype}" if is_array(value) else type(value).__name__
                raise BadObservation(f"the policy's input {name} is {found}, expected {field.shape} {field.dtype}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise BadObservation(f"the policy's input {name} is not finite")

    @torch.inference_mode()
    def _predict(self, batch: Sequence[Item[LeRobotSession]]) -> list[Chunk]:
        past = [self._ready(moments) for moments in zip(*(item.context.history for item in batch), strict=True)]
        ready = self._ready([item.inputs for item in batch])
        if self._family.steps is not None:
            owner, name = self._family.steps
            setattr(owner, name, batch[0].session.params.num_inference_steps)
        amp = torch.autocast(self._device.type) if self._amp else contextlib.nullcontext()
        with amp, seeded([item.context.seed for item in batch]):
            kept = self._family.recalled(past, len(batch)) if past else [item.session.memory for item in batch]
            actions, episodes = self._family.chunk(ready, kept)
        rows = self._postprocess(actions).to("cpu", torch.float32).numpy()
        if rows.ndim != 3 or len(rows) != len(batch) or rows.shape[2:] != self._action_shape:
            raise InvalidAction(
                f"the policy answered {rows.shape}, its config says ({len(batch)}, T, {self._action_shape})"
            )
        for item, memory in zip(batch, episodes, strict=True):
            item.session.memory = memory
        return [Chunk(action) for action in rows]

    def _ready(self, inputs: Sequence[Inputs]) -> dict[str, Any]:
        """What the model is given of one observation of each of several robots."""
        ready: dict[str, Any] = self._preprocess(self._tensors(inputs))
        # The processors leave the names of a whole training row; of these only the action confuses a model.
        ready.pop(ACTION, None)
        return ready

    def _tensors(self, inputs: Sequence[Inputs]) -> dict[str, Any]:
        """As LeRobot prepares one observation, for several: images 0 … 1, channels first."""
        batch: dict[str, Any] = {"task": [each.get("task", "") for each in inputs]}
        for name, field in self._inputs.items():
            stacked = torch.from_numpy(np.stack([each[name] for each in inputs])).to(self._device)
            if is_image(field):
                stacked = (stacked.to(torch.float32) / self._white).permute(0, 3, 1, 2).contiguous()
            batch[name] = stacked
        return batch
