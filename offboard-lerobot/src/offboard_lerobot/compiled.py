"""The part of a LeRobot policy that takes the time, compiled by torch, and proven before a robot is answered by it.

What is compiled draws no random numbers and keeps nothing: of flow policies the integration, with its noise given; of
diffusion the network that is asked in each step; of ACT all of it. All else stays as it is.
"""

# torch and LeRobot leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from offboard_client.errors import LoadFailed
from offboard_core.proofs import FastCall, Proof, make_trials, prove
from offboard_core.types import Array, ReportProgress, is_image

from .compile_options import TorchCompileOptions
from .features import PREPROCESSOR
from .files import Files
from .policy import LeRobotPolicy
from .programs import Compiled, explained, own
from .statistics import read_statistics
from .step_verdict import options

#: Type → where its part is, and its name there.
_PARTS = {
    "act": ("model", "forward"),
    "diffusion": ("diffusion.unet", "forward"),
    "pi0": ("model", "sample_actions"),
    "pi05": ("model", "sample_actions"),
    "smolvla": ("model", "sample_actions"),
}
#: Statistics that are the two ends of a number, the best first.
_ENDS = (("q01", "q99"), ("min", "max"))


def compile_with_proof(
    policy: LeRobotPolicy, model: Any, files: Files, asked: TorchCompileOptions, report: ReportProgress
) -> Proof:
    """Have ``policy`` answer by the compiled part of ``model`` wherever that is proven to answer as the model does.

    Raises what :func:`offboard_core.proofs.prove` raises.
    """
    device = torch.device(policy.meta["device"])
    how = asked.compile_mode or _mode(device, asked.compile_tolerance)
    if (why := _why_not(files, asked, how, device)) is not None:
        proof = Proof(how, asked.compile_tolerance)
        proof.refuse(why)
        return proof
    sizes = asked.compile_batch_sizes or (1, policy.max_batch_size)
    if too_many := [size for size in sizes if size > policy.max_batch_size]:
        raise LoadFailed(
            f"compile_batch_sizes names {too_many[0]}, and at most {policy.max_batch_size} robots share a call of "
            f"{files.folder}",
            permanent=True,
        )
    call = install(files.type, model, how, device, policy.num_steps)
    trials = make_trials(files.inputs, sorted({*sizes}), _ranges(files), asked.compile_tasks)
    try:
        return prove(policy, call, trials, how=how, tolerance=asked.compile_tolerance, report=report)
    finally:
        _end_workers()


def _why_not(files: Files, asked: TorchCompileOptions, how: str, device: torch.device) -> str | None:
    """Why nothing is to be tried; None: it is."""
    if files.type not in _PARTS:
        return f"of the type {files.type} nothing is compiled here, only of {', '.join(_PARTS)}"
    if how == "cudagraphs" and device.type != "cuda":
        return f"CUDA graphs are a GPU's, and the model is on {device}: take another --compile-mode"
    if not asked.compile_tasks and _varies(files):
        return "it has to be compiled for each length of a task: name those that robots send (--compile-tasks)"
    return None


def install(kind: str, model: Any, how: str, device: torch.device, steps: Callable[[], int | None]) -> FastCall:
    """Put a :class:`FastCall` in the place of the part. ``steps``: in how many steps an action is made of noise now."""
    path, name = _PARTS[kind]
    owner = attrgetter(path)(model)
    eager = getattr(owner, name)
    call: FastCall

    def make(_: Hashable) -> Callable[..., Any]:
        return _program(eager, how, device, call)

    def sample_actions(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("noise") is None:
            # Drawn here as the model would, once for whoever of the two answers: the compiler has no generators.
            first = _first(args)
            shape = (len(first), owner.config.chunk_size, owner.config.max_action_dim)
            kwargs["noise"] = owner.sample_noise(shape, first.device)
        return call(*args, **kwargs)

    def kind_of(*args: Any, **kwargs: Any) -> Hashable | None:
        if name == "forward":
            return tuple(_kinds(args)), tuple(_kinds(kwargs))
        # What guides real-time chunking follows gradients, and is told by more arguments.
        guided = any(value is not None for key, value in kwargs.items() if key != "noise")
        return None if guided else (steps(), tuple(_kinds(args)))

    call = FastCall(eager, make, kind_of)
    # On the instance, where LeRobot itself puts what it has compiled.
    setattr(owner, name, call if name == "forward" else sample_actions)
    return call


def _program(eager: Any, how: str, device: torch.device, call: FastCall) -> Callable[..., Any]:
    compiled = Compiled(eager, how)

    def program(*args: Any, **kwargs: Any) -> Any:
        if device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        try:
            answer = compiled(args, kwargs, compiles=call.is_tried)
        except Exception as error:
            if (known := explained(error)) is error:
                raise
            raise known from error
        return own(answer) if device.type == "cuda" else answer

    return program


def _first(given: Any) -> torch.Tensor:
    for value in given:
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, (list, tuple)) and value:
            return _first(value)
    raise TypeError("it was given no tensor")


def _kinds(value: Any) -> Iterator[Hashable]:
    """All that makes these arguments another program. Not texts: a batch has them, and none of the parts reads one."""
    if isinstance(value, torch.Tensor):
        yield tuple(value.shape), value.stride(), value.dtype, value.device
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield key
            yield from _kinds(value[key])
    elif isinstance(value, (list, tuple)):
        yield len(value)
        for each in value:
            yield from _kinds(each)
    elif not isinstance(value, str):
        yield value


def _mode(device: torch.device, tolerance: float) -> str:
    """CUDA graphs play the model's own kernels back; what else there is rounds otherwise."""
    if device.type != "cuda":
        return "default"
    return "reduce-overhead" if tolerance else "cudagraphs"


def _varies(files: Files) -> bool:
    """Whether a task is as many tokens long as it has, and not filled up to as many as the longest may have."""
    return any(options(step).get("padding") == "longest" for step in files.steps[PREPROCESSOR])


def _ranges(files: Files) -> dict[str, tuple[Array, Array]]:
    """Where each of the inputs was in training, as far as its statistics say."""
    found = read_statistics(files.checkpoint("", ""))
    ranges: dict[str, tuple[Array, Array]] = {}
    for name, field in files.inputs.items():
        for ends in _ENDS:
            low, high = (found.get(f"{name}.{end}") for end in ends)
            if low is None or high is None or is_image(field) or low.shape != field.shape or name in ranges:
                continue
            if np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all():
                ranges[name] = low, high
    return ranges


def _end_workers() -> None:
    """End the processes that torch's compiler has started: from here on nothing is compiled."""
    compiler = sys.modules.get("torch._inductor.async_compile")
    if compiler is not None:
        with contextlib.suppress(Exception):
            compiler.shutdown_compile_workers()


__all__ = ["compile_with_proof", "install"]
