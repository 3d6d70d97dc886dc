"""Makes a policy of a checkpoint's files. Imports torch and lerobot: seconds, so only a load imports this."""

# LeRobot has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from offboard_client.errors import InvalidAction, LoadFailed, OffboardError, told
from offboard_core.checkpoints import some
from offboard_core.process import OwnFolder
from offboard_core.types import ALONE, NO_CONTEXT, Chunk, Placement, ReportProgress

from .adapted import adapted
from .adapters import base_of
from .compile_options import TorchCompileOptions
from .device import broken
from .fast import NoAction
from .features import CONFIG, FOR_GOOD, POSTPROCESSOR, PREPROCESSOR
from .files import Files
from .groot import without_statistics
from .plugins import is_third_party, remembers
from .policy import LeRobotPolicy
from .prompts import shown
from .weights import read_weights
from .worded import Worded
from .words import STATE_IN_PROMPT

log = logging.getLogger(__name__)

#: Who sets one of these has decided how many threads an inference takes.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def build(
    files: Files,
    device: str | None,
    max_batch_size: int,
    report: ReportProgress,
    place: Placement = ALONE,
    compiling: TorchCompileOptions | None = None,
) -> LeRobotPolicy:
    """Load, check and warm up, and compile where ``compiling`` says so.

    Raises LoadFailed where the cause is known, else whatever LeRobot raises.
    """
    with OwnFolder("load") as as_checked:
        _write(files, as_checked)
        target = pick_device(device, place)
        return _build(files, str(as_checked), target, max_batch_size, report, place.replicas, compiling)


def _write(files: Files, place: Path) -> None:
    """What LeRobot reads beside the weights, as it was checked: without what only other versions know."""
    for name, content in {
        CONFIG: files.config,
        **{name: {"steps": steps} for name, steps in files.steps.items()},
    }.items():
        (place / name).write_text(json.dumps(content), "utf-8")
    for name in files.states:
        (place / name).symlink_to((files.folder / name).absolute())


def _build(
    files: Files,
    as_checked: str,
    target: torch.device,
    max_batch_size: int,
    report: ReportProgress,
    replicas: int,
    compiling: TorchCompileOptions | None,
) -> LeRobotPolicy:
    if target.type == "cpu":
        _leave_a_core(replicas)
    if why := broken(target):
        raise LoadFailed(why, permanent=True)
    try:
        with _COPIES.made_in(as_checked):
            config: Any = PreTrainedConfig.from_pretrained(as_checked, local_files_only=True)
    except Exception as error:  # whose cause is what its class says of itself
        why = told(error.__cause__ or error)
        raise LoadFailed(f"{files.folder}: LeRobot does not take its {CONFIG}: {why}", permanent=True) from None
    config.device = str(target)
    # The backbone's weights are in the checkpoint; asked for here, torchvision would download others first.
    if hasattr(config, "pretrained_backbone_weights"):
        config.pretrained_backbone_weights = None
    # What LeRobot compiles by itself is compared with nothing: that is what --compile is for.
    if getattr(config, "compile_model", False):
        config.compile_model = False
        log.info("%s says compile_model, which is not followed: see --compile", files.folder)
    report(f"reading the weights onto {target}")
    kind = get_policy_class(config.type)
    model = _read(kind, config, files, str(target))
    model.to(target).eval()
    preprocess, postprocess = make_pre_post_processors(
        config,
        pretrained_path=as_checked,
        preprocessor_overrides=_on_device(files.steps[PREPROCESSOR], str(target)),
        postprocessor_overrides=_on_device(files.steps[POSTPROCESSOR], "cpu"),
    )
    if files.fill is not None:
        log.info("%s is shown the state %s in its prompt, as it was trained", files.folder, shown(files.fill))
        preprocess.steps = [
            Worded(step, files.fill) if said["registry_name"] == STATE_IN_PROMPT[files.type] else step
            for step, said in zip(preprocess.steps, files.steps[PREPROCESSOR], strict=True)
        ]
    for pipeline in (preprocess, postprocess):
        _check_statistics(files, pipeline.steps)
    policy = LeRobotPolicy(model, preprocess, postprocess, files, target, max_batch_size)
    report(f"warming up on {target}")
    try:
        _warm_up(policy, files)
        if is_third_party(files.type) and (kept := remembers(model, lambda: _warm_up(policy, files))):
            raise LoadFailed(
                f"{files.folder}: its type {files.type!r} keeps something of one inference for the next in itself "
                f"({some(kept)}), where several robots would share it",
                permanent=True,
            )
        if compiling is not None and compiling.compile:
            from .compiled import compile_with_proof

            proof = compile_with_proof(policy, model, files, compiling, report)
            policy.meta = {**policy.meta, "compiled": proof.meta()}
    except BaseException:
        policy.close()
        raise
    return policy


class _Copies(threading.local):
    """Where LeRobot makes its copy of a config in this thread: it never removes that. None: among the machine's."""

    folder: str | None = None

    def NamedTemporaryFile(self, *given: Any, **how: Any) -> Any:
        return tempfile.NamedTemporaryFile(*given, dir=self.folder, **how)

    @contextlib.contextmanager
    def made_in(self, folder: str) -> Generator[None, None, None]:
        self.folder = folder
        try:
            yield
        finally:
            self.folder = None


_COPIES = _Copies()
# In place of the module, of which it asks for nothing else.
sys.modules[PreTrainedConfig.__module__].__dict__["tempfile"] = _COPIES


def _read(kind: type[Any], config: Any, files: Files, device: str) -> Any:
    if files.adapter is None:
        return read_weights(kind, config, [files.folder / name for name in files.weights])
    folder, names = base_of(files.adapter, files.type, local=True)
    model = read_weights(kind, config, [folder / name for name in names])
    return adapted(model, files.adapter, files.folder, device)


def pick_device(asked: str | None, place: Placement = ALONE) -> torch.device:
    """The device asked for, else the first of cuda, mps, cpu. Raises LoadFailed naming those that exist.

    Where ``cuda`` is meant as such and not one GPU of it, replicas take turns on the GPUs there are.
    """
    there = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    there += ["mps"] if torch.backends.mps.is_available() else []
    there += ["cpu"]
    if asked is not None and asked not in there and f"{asked}:0" not in there:
        raise LoadFailed(f"there is no device {asked!r} here; there are: {', '.join(there)}", permanent=True)
    picked = there[0].partition(":")[0] if asked is None else asked
    if picked == "cuda" and place.replicas > 1:
        picked = f"cuda:{place.replica % torch.cuda.device_count()}"
    return torch.device(picked)


def _leave_a_core(replicas: int) -> None:
    """Take one thread fewer than there are cores: with as many, each step of the model waits for the network's core.

    Holds for the thread that calls this, which is the model's own; so ``replicas`` of them share the rest.
    """
    if any(os.environ.get(name) for name in _THREADS):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (cores - 1) // replicas)))
    log.info("inference takes %d of %d cores (%s sets another number)", torch.get_num_threads(), cores, _THREADS[0])


def _on_device(steps: Iterable[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """An override for each step that moves tensors. One for a step that is not there would be an error."""
    names = [step["registry_name"] for step in steps]
    return {name: {"device": device} for name in ("device_processor", "groot_n1_7_vlm_encode_v1") if name in names}


def _check_statistics(files: Files, steps: Iterable[Any]) -> None:
    """LeRobot passes on what it has no statistics for as it is: normalised numbers would reach the robot."""
    described = {*files.config["input_features"], *files.config["output_features"]}
    never = described - {*files.seen, *files.outputs}
    for step in steps:
        for name, feature in getattr(step, "features", {}).items():
            mode = getattr(step, "norm_map", {}).get(feature.type, NormalizationMode.IDENTITY)
            if name not in never and mode is not NormalizationMode.IDENTITY and not step.stats.get(name):
                raise LoadFailed(
                    f"{files.folder} has no statistics of {name}, which it normalises by {mode.value}; "
                    "save the processors with the data set's statistics",
                    permanent=True,
                )
    widths = {name: math.prod(field.shape or ()) for name, field in {**files.inputs, **files.outputs}.items()}
    if name := without_statistics(steps, widths):
        raise LoadFailed(
            f"{files.folder} has no min and max of all {widths[name]} numbers of {name}, by which it normalises; "
            "save the processors with the data set's statistics",
            permanent=True,
        )


def _warm_up(policy: LeRobotPolicy, files: Files) -> None:
    """One inference on a blank observation. Raises LoadFailed: it failed, or answered what no robot may get."""
    blank = {name: np.zeros(field.shape or (), field.dtype) for name, field in files.inputs.items()}
    session = policy.new_session(policy.params())
    try:
        chunk = session.infer(blank, NO_CONTEXT)
    except NoAction as error:
        # Nobody would be sent anything of it, and what it says of a real picture is another matter.
        log.info("%s has nothing to say to a blank observation: %s", files.folder, error.text)
        return
    except OffboardError as error:
        for_good = isinstance(error, InvalidAction) or isinstance(error.__cause__, FOR_GOOD)
        text = f"{files.folder} failed its first inference: {error.text}"
        raise LoadFailed(text, permanent=for_good) from error.__cause__
    finally:
        session.close()
    if isinstance(chunk, Chunk):
        # Some answer fewer rows than their config says, by what their processors cut off.
        policy.meta = {**policy.meta, "chunk_length": len(chunk)}
    if not isinstance(chunk, Chunk) or not all(np.isfinite(rows).all() for rows in chunk.columns().values()):
        raise LoadFailed(f"{files.folder} answers a blank observation with numbers that are not finite")
