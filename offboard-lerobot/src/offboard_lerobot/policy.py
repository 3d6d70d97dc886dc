"""A LeRobot policy on this machine's device, serving many episodes."""

# torch and LeRobot leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from lerobot.policies.utils import populate_queues
from lerobot.utils.constants import ACTION, OBS_IMAGES
from offboard_client.errors import BadObservation, InvalidAction, ModelLost, OffboardError, PolicyFailed, told
from offboard_core.process import collect
from offboard_core.types import Chunk, Field, Health, InferContext, Item, Policy, Session, is_array, is_image

from .device import broken
from .files import Files
from .sampling import sampling_params

log = logging.getLogger(__name__)

Inputs = Mapping[str, Any]
History = dict[str, deque[torch.Tensor]]


class LeRobotSession(Session):
    """One episode. ``history``: the last observations, for policies that look back; None for those that do not."""

    def __init__(self, policy: LeRobotPolicy, params: Any) -> None:
        self._policy = policy
        self.params = params
        self.history: History | None = None
        self.reset()

    def infer(self, inputs: Inputs, context: InferContext) -> Chunk | None:
        """See :meth:`Session.infer`."""
        [answer] = self._policy.infer_many([Item(self, inputs, context)])
        if isinstance(answer, OffboardError):
            raise answer
        return answer

    def reset(self) -> None:
        """Forget what was observed."""
        self.history = self._policy.blank_history()

    def close(self) -> None:
        """Let go of the observations."""
        self.history = None


class LeRobotPolicy(Policy[LeRobotSession]):
    """``model``: a PreTrainedPolicy in evaluation mode on ``device``, with its own pre- and postprocessors.

    A chunk is (T, D) float32 in the units of the training data, post-processed as a whole. Policies with a history
    (``_queues``) run one episode at a time, the others batch. Those that sample take a seed, and a number of steps.
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
        self._looks_back = getattr(model, "_queues", None) is not None
        # What samples, for policies that do.
        self._sampler: Any = getattr(model, "diffusion", None)
        if self._sampler is not None:
            self.context = frozenset({"seed"})
            trained = self._sampler.noise_scheduler.config.num_train_timesteps
            self.params = sampling_params(self._sampler.num_inference_steps, trained)
        self.max_batch_size = 1 if self._looks_back else max_batch_size
        self.meta = {
            "device": str(device),
            "policy_type": files.type,
            "chunk_length": files.checkpoint("", "").chunk_length,
            "n_obs_steps": model.config.n_obs_steps,
        }
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
                self._check(item.inputs)
                sound.append(i)
            except BadObservation as error:
                results[i] = error.with_traceback(None)
        groups = [[i] for i in sound] if self._looks_back else [sound] if sound else []
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

    def blank_history(self) -> History | None:
        """An empty history, as the model itself makes one; None for a model without."""
        if not self._looks_back:
            return None
        self._model.reset()
        history, self._model._queues = self._model._queues, {}
        return history

    def close(self) -> None:
        """Drop the weights and give the device's memory back."""
        self._model = self._preprocess = self._postprocess = self._sampler = None
        collect()
        if self._health.state == "failed":
            return  # the device would fail at that, too
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def _check(self, inputs: Inputs) -> None:
        for name, field in self._inputs.items():
            value = inputs.get(name)
            if not is_array(value) or value.shape != field.shape or value.dtype != field.dtype:
                found = f"{value.shape} {value.dtype}" if is_array(value) else type(value).__name__
                raise BadObservation(f"the policy's input {name} is {found}, expected {field.shape} {field.dtype}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise BadObservation(f"the policy's input {name} is not finite")

    @torch.inference_mode()
    def _predict(self, batch: Sequence[Item[LeRobotSession]]) -> list[Chunk]:
        ready = self._preprocess(self._tensors([item.inputs for item in batch]))
        # The processors leave the names of a whole training row; of these only the action confuses a model.
        ready.pop(ACTION, None)
        if self._sampler is not None:  # it looks back, too: one session at a time
            self._sampler.num_inference_steps = batch[0].session.params.num_inference_steps
        amp = torch.autocast(self._device.type) if self._amp else contextlib.nullcontext()
        with amp, self._seeded(batch[0].context.seed):
            actions = self._with_history(batch[0].session, ready) if self._looks_back else self._chunk(ready)
        rows = self._postprocess(actions).to("cpu", torch.float32).numpy()
        if rows.ndim != 3 or rows.shape[2:] != self._action_shape:
            raise InvalidAction(f"the policy answered {rows.shape}, its config says (B, T, {self._action_shape})")
        return [Chunk(action) for action in rows]

    @contextlib.contextmanager
    def _seeded(self, seed: int | None) -> Generator[None]:
        """Within it the model samples from a generator of this seed; None: from torch's, as ever.

        torch's own generator belongs to the whole process: seeding that would decide what other models answer.
        """
        if seed is None:
            yield
            return
        own = torch.Generator(self._device).manual_seed(seed)
        self._sampler.conditional_sample = partial(self._sampler.conditional_sample, generator=own)
        try:
            yield
        finally:
            del self._sampler.conditional_sample  # the class's own again

    def _chunk(self, ready: dict[str, Any]) -> torch.Tensor:
        return self._model.predict_action_chunk(ready)

    def _with_history(self, session: LeRobotSession, ready: dict[str, Any]) -> torch.Tensor:
        """Lend the episode's history to the model. A call that fails leaves the episode as it was."""
        if session.history is None:
            raise PolicyFailed("the session is closed")
        images = list(self._model.config.image_features)
        if images:
            ready[OBS_IMAGES] = torch.stack([ready[name] for name in images], dim=-4)
        lent = {name: queue.copy() for name, queue in session.history.items()}
        try:
            self._model._queues = populate_queues(lent, ready)
            actions = self._chunk(ready)
        finally:
            self._model._queues = {}
        session.history = lent
        return actions

    def _tensors(self, inputs: Sequence[Inputs]) -> dict[str, Any]:
        """As LeRobot prepares one observation, for several: images 0 … 1, channels first."""
        batch: dict[str, Any] = {"task": [each.get("task", "") for each in inputs]}
        for name, field in self._inputs.items():
            stacked = torch.from_numpy(np.stack([each[name] for each in inputs])).to(self._device)
            if is_image(field):
                stacked = (stacked.to(torch.float32) / self._white).permute(0, 3, 1, 2).contiguous()
            batch[name] = stacked
        return batch
