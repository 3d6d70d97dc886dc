"""A LeRobot policy on this machine's device, serving many episodes."""

# torch and LeRobot leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lerobot.utils.constants import ACTION
from offboard_client.errors import BadObservation, InvalidAction, ModelLost, OffboardError, PolicyFailed, told
from offboard_core.process import collect
from offboard_core.types import Chunk, Field, Health, InferContext, Item, Policy, Session, is_array, is_image

from .device import broken, wants_the_cpu
from .draws import seeded
from .families import Memory, family_of
from .features import PREPROCESSOR
from .files import Files
from .guidance import Guidance, is_guided, width_said
from .prompts import shown
from .sampling import joined, sampling_params

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
        self._first = torch.device("cpu") if wants_the_cpu(files.steps[PREPROCESSOR]) else device
        # A GPU multiplies by the reciprocal of a number; by a tensor it divides, as LeRobot does before it sends.
        self._white = torch.tensor(255.0, device=self._first)
        self._inputs: Mapping[str, Field] = files.inputs
        self._action_shape = files.outputs[ACTION].shape or ()
        family = family_of(files.type, model)
        self._family: Any = family
        self.history_steps = family.lookback
        self._guidance: Any = self._guided(files, model)
        chunking = self._guidance is not None
        takes = {"seed": family.draws, "history": family.lookback, "prefix": chunking, "delay_steps": chunking}
        self.context = frozenset(name for name, value in takes.items() if value)
        tuned: list[type] = []
        if family.steps is not None:
            steps: int = getattr(*family.steps)
            scheduler = getattr(family.steps[0], "noise_scheduler", None)
            most = max(steps, _MOST_STEPS) if scheduler is None else scheduler.config.num_train_timesteps
            tuned.append(sampling_params(steps, most))
        if self._guidance is not None:
            tuned.append(self._guidance.params())
            self.max_delay_steps = self._guidance.max_delay_steps
        self.params = joined(*tuned)
        self.max_batch_size = max_batch_size if family.batches else 1
        meta: dict[str, Any] = {
            "device": str(device),
            "policy_type": files.type,
            "chunk_length": files.checkpoint("", "").chunk_length,
            "n_obs_steps": model.config.n_obs_steps,
        }
        if family.lookback:
            meta["context_absent"] = {"history": _OWN_PAST}
        if files.fill is not None:
            meta["state_in_prompt"] = shown(files.fill)
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
                if isinstance(error, OffboardError):
                    log.warning("the policy failed on one observation: %s", error.text)
                    results[group[0]] = error.with_traceback(None)
                    continue
                log.exception("the policy failed on one observation")
                text = f"the policy raised {told(error)}. The server's log has the traceback"
                results[group[0]] = failed = PolicyFailed(text)
                failed.__cause__ = error.with_traceback(None)  # which would hold the tensors
                continue
            for i, chunk in zip(group, chunks, strict=True):
                results[i] = chunk
        return results

    def health(self) -> Health:
        """See :meth:`Policy.health`: failed once nothing can be computed on the device any more."""
        return self._health

    def batch_key(self, item: Item[LeRobotSession]) -> Hashable:
        """See :meth:`Policy.batch_key`. A call has one number of steps, too."""
        alike = tuple(item.inputs.get(name) for name in self._family.alike)
        return super().batch_key(item), item.session.params, alike

    def num_steps(self) -> int | None:
        """In how many steps it makes an action of noise now; None where it does not."""
        return None if self._family.steps is None else getattr(*self._family.steps)

    def blank_memory(self) -> Memory:
        """What an episode begins with."""
        return self._family.memory()

    def close(self) -> None:
        """Drop the weights and give the device's memory back."""
        self._model = self._preprocess = self._postprocess = self._family = self._guidance = None
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
        prefix = item.context.prefix
        if prefix is not None:
            shapes = {name: array.shape for name, array in prefix.columns().items()}
            if shapes != {ACTION: (len(prefix), *self._action_shape)}:
                raise BadObservation(f"the policy's prefix is {shapes}, expected {ACTION} (K, {self._action_shape})")

    def _check_inputs(self, inputs: Inputs) -> None:
        for name, field in self._inputs.items():
            value = inputs.get(name)
            if not is_array(value) or value.shape != field.shape or value.dtype != field.dtype:
                found = f"{value.shape} {value.dtype}" if is_array(value) else type(value).__name__
                raise BadObservation(f"the policy's input {name} is {found}, expected {field.shape} {field.dtype}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise BadObservation(f"the policy's input {name} is not finite")

    def _guided(self, files: Files, model: Any) -> Any:
        """How it is told what is not played yet; None where it cannot be."""
        if not is_guided(files.type, model):
            return None
        blank = {name: np.zeros(field.shape or (), field.dtype) for name, field in self._inputs.items()}
        width = width_said(files.type, model, math.prod(self._action_shape))
        made = torch.linspace(-1, 1, 4 * width, device=self._device).reshape(1, 4, width)
        try:
            self._ready([blank])  # by whose state relative actions are made absolute
            rows = self._postprocess(made)
            back = self._ready([blank], rows.numpy())[1][..., :width]
            again = self._postprocess(back)
            slopes = self._ready([blank], rows.numpy() + 1)[1][0, 0, :width] - back[0, 0]
        except Exception:
            log.warning("no real-time chunking: its processors take no actions", exc_info=True)
            return None
        if not torch.allclose(again, rows, rtol=1e-3, atol=1e-4):
            log.warning("no real-time chunking: its processors do not turn actions back into what the model said")
            return None
        return Guidance(model, rows[0], back[0], slopes)

    def _predict(self, batch: Sequence[Item[LeRobotSession]]) -> list[Chunk]:
        # Guidance follows gradients, which tensors of the inference mode do not have.
        with torch.inference_mode() if self._guidance is None else torch.no_grad():
            return self._chunks(batch)

    def _chunks(self, batch: Sequence[Item[LeRobotSession]]) -> list[Chunk]:
        past = [self._ready(moments)[0] for moments in zip(*(item.context.history for item in batch), strict=True)]
        prefixes = [item.context.prefix.columns()[ACTION] for item in batch if item.context.prefix is not None]
        ready, left_over = self._ready([item.inputs for item in batch], np.stack(prefixes) if prefixes else None)
        guided: Mapping[str, Any] = {}
        if self._guidance is not None:
            guided = self._guidance.arguments(left_over, batch[0].context.delay_steps, batch[0].session.params)
        if self._family.steps is not None:
            owner, name = self._family.steps
            setattr(owner, name, batch[0].session.params.num_inference_steps)
        amp = torch.autocast(self._device.type) if self._amp else contextlib.nullcontext()
        with amp, seeded([item.context.seed for item in batch]):
            kept = self._family.recalled(past, len(batch)) if past else [item.session.memory for item in batch]
            actions, episodes = self._family.chunk(ready, kept, **guided)
        rows = self._postprocess(actions).to("cpu", torch.float32).numpy()
        if rows.ndim != 3 or len(rows) != len(batch) or rows.shape[2:] != self._action_shape:
            raise InvalidAction(
                f"the policy answered {rows.shape}, its config says ({len(batch)}, T, {self._action_shape})"
            )
        for item, memory in zip(batch, episodes, strict=True):
            item.session.memory = memory
        return [Chunk(action) for action in rows]

    def _ready(self, inputs: Sequence[Inputs], actions: Any = None) -> tuple[dict[str, Any], Any]:
        """What the model is given of one observation of each of several robots; and of ``actions`` (B, K, D)."""
        tensors = self._tensors(inputs)
        if actions is not None:
            made = torch.from_numpy(actions).to(self._first, torch.float32)
            if not torch.isfinite(made).all():  # some processors would clip it
                raise BadObservation("the prefix holds what is no finite number in the model's terms")
            tensors[ACTION] = made
        ready: dict[str, Any] = self._preprocess(tensors)
        # The processors leave the names of a whole training row; of these only the action confuses a model.
        return ready, ready.pop(ACTION, None)

    def _tensors(self, inputs: Sequence[Inputs]) -> dict[str, Any]:
        """As LeRobot prepares one observation, for several: images 0 … 1, channels first."""
        batch: dict[str, Any] = {"task": [each.get("task", "") for each in inputs]}
        for name, field in self._inputs.items():
            stacked = torch.from_numpy(np.stack([each[name] for each in inputs])).to(self._first)
            if is_image(field):
                stacked = (stacked.to(torch.float32) / self._white).permute(0, 3, 1, 2).contiguous()
            batch[name] = stacked
        return batch
