"""LeRobot's own training, ``lerobot-train``, run as it is. Importing this imports neither torch nor lerobot."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.checkpoints import LocalPlace, begin_run, make_folder, read_json, throw_away
from offboard_core.process import Child, run_to_end
from offboard_core.training import Trainer, check_numbers
from offboard_core.types import ReportProgress

from . import INHERIT, training_data, training_runs
from .files import TRAINED, Files, read
from .places import PRETRAINED
from .training_log import Progress, explain
from .training_options import TrainOptions, kind_of, program, run_of, their_own

log = logging.getLogger(__name__)

#: What errors call the child.
NAME = "LeRobot subprocess"
#: What a run is reported with, which is asked for.
_REPORTING = ("WANDB_*", "WANDB_API_KEY")
#: What it reads of its environment beside what it reads when it serves.
_ENVIRONMENT = (*INHERIT, "ACCELERATE_*", "SLURM_*", "SVT_LOG", "TORCHINDUCTOR_*", "TORCHDYNAMO_*")
_WAIT = "OMP_WAIT_POLICY"
#: Policy types that are made of nothing that lies on the Hub.
_NEED_NO_HUB = {"act", "diffusion", "tdmpc", "vqbet"}
_WEIGHTS = "policy.pretrained_backbone_weights"
#: ResNets with the weights that torchvision has of them; LeRobot's default is the first's, whatever is asked for.
_BACKBONES = {f"resnet{layers}": f"ResNet{layers}_Weights.IMAGENET1K_V1" for layers in (18, 34, 50, 101, 152)}


class LeRobotTrainer(Trainer):
    """Runs ``lerobot-train``. Statistics are part of LeRobot's data sets, so there are none to compute before."""

    train_options = TrainOptions
    passed_on = "extra_args"

    def said_of(self, options: TrainOptions) -> Mapping[str, Any]:
        """See :meth:`Trainer.said_of`."""
        return training_data.said_of(_data(options, their_own(options)))

    def train(self, options: TrainOptions, record: Mapping[str, Any], report: ReportProgress) -> Path:
        """Train into ``OUTPUT_DIR[/EXP_NAME]``, which is returned, with ``offboard.json`` in it and each checkpoint."""
        theirs = their_own(options)
        command = program(options)
        data = _data(options, theirs)
        info = training_data.read_info(data)
        check_numbers(data, training_data.shapes_of(info))  # LeRobot trains on NaN, and all that it learns is NaN
        run = run_of(options)
        training_runs.check_place(run, data)
        how = "resume"
        if options.resume and not options.overwrite:
            step = _whole(run)
            files = read(LocalPlace(step / PRETRAINED))
            begin_run(run, [step.name], record, resume=True, overwrite=False)
            began = _trained_on(step)
            training_data.check_same(data, info, files, began, training_runs.read_shapes(run))
            arguments = _going_on(options, theirs, step, files)
            kind, before = files.type, int(step.name)
        else:
            kind, before = kind_of(options, theirs), 0
            names = [path.name for path in training_runs.steps_in(run)]
            how = begin_run(run, names, record, resume=options.resume, overwrite=options.overwrite)
            arguments = _beginning(options, theirs)
        if "codec" in record:
            exactly = not {"rename_map", "policy.input_features", "policy.path"} & {*theirs, *arguments}
            training_data.check_codec(data, info, str(record["codec"]), exactly=exactly)
        if how == "overwrite":  # LeRobot begins no run in a folder that is there
            throw_away(run)
        make_folder(run.parent)
        said = {**theirs, **arguments, "output_dir": str(run), "dataset.root": str(data)}
        said.setdefault("dataset.repo_id", f"offboard/{data.name}")
        reporting = _REPORTING if said["wandb.enable"] == "true" else ()
        child = Child(
            [*command, *(f"--{name}={value}" for name, value in said.items())],
            name=NAME,
            inherit=(*_ENVIRONMENT, *reporting, *options.lerobot_env),
            env=_environment(kind, said),
            grace=10.0,
        )
        own = [each.name for each in fields(options)]
        begun = partial(training_runs.record_beside, run, dict(record), training_data.shapes_of(info))
        _run_to_end(child, run, begun, report, Progress(before), partial(explain, own=own, data=str(data)))
        return run


def _run_to_end(
    child: Child,
    run: Path,
    record_beside: Callable[..., None],
    report: ReportProgress,
    progress: Progress,
    explain: Callable[[str, str], LoadFailed],
) -> None:
    """Run LeRobot to its end; what it did not end of a checkpoint goes. Raises ConfigurationError."""
    there = [path.name for path in training_runs.steps_in(run)]

    def watch() -> None:
        # In the run before there is a checkpoint, which is then never without one.
        line = progress.line(child.tail().splitlines())
        record_beside(begun=progress.begun)
        if line:
            report(line)

    try:
        run_to_end(child, lambda _: None, lambda _: explain(f"{NAME} {child.how()}", child.tail(200)), watch)
        if training_runs.newest_whole(run)[0] is None:
            raise ConfigurationError(f"LeRobot ended well, and left no whole checkpoint in {run}")
    except BaseException as error:
        cut = training_runs.tidy(run, there)
        if not cut or not isinstance(error, ConfigurationError):
            raise
        gone = f"{' and '.join(cut)} was not saved to its end, and is thrown away"
        raise ConfigurationError(f"{error.text}\n{gone}.") from None


def _data(options: TrainOptions, theirs: Mapping[str, str]) -> Path:
    given = {str(path.absolute()) for path in (options.dataset, options.input_path) if path is not None}
    if (root := theirs.get("dataset.root")) is not None:
        given.add(str(Path(root).expanduser().absolute()))
    if len(given) == 1:
        return Path(given.pop())
    step = _whole(run_of(options)) if options.resume and not options.overwrite and not given else None
    if step is not None and (began := _trained_on(step)) is not None:
        return began
    if given:
        raise ConfigurationError(f"the data set is said to be {' and '.join(sorted(given))}: give one of them")
    name = theirs.get("dataset.repo_id")
    raise ConfigurationError(
        "say which data set: --dataset FOLDER"
        + ("" if name is None else f" (hf download --repo-type dataset {name} --local-dir FOLDER fetches it)")
    )


def _beginning(options: TrainOptions, theirs: Mapping[str, str]) -> dict[str, str]:
    said: dict[str, str] = {}
    if (kind := kind_of(options, theirs)) is not None:
        said["policy.type"] = kind
    elif options.policy is not None:
        local = Path(options.policy).expanduser()
        said["policy.path"] = str(local) if local.is_dir() else options.policy
    if options.exp_name is not None:
        said["job_name"] = theirs.get("job_name", options.exp_name)
    if (weights := _BACKBONES.get(options.backbone or "")) is not None and kind == "act":
        said[_WEIGHTS] = theirs.get(_WEIGHTS, weights)
    return {**said, **_either(options, theirs)}


def _either(options: TrainOptions, theirs: Mapping[str, str]) -> dict[str, str]:
    """What a training is told whether it begins or goes on."""
    said = {
        "wandb.enable": "true" if options.wandb else theirs.get("wandb.enable", "false"),
        "policy.push_to_hub": theirs.get("policy.push_to_hub", "false"),
    }
    if options.num_train_steps is not None:
        said["steps"] = str(options.num_train_steps)
    if options.backbone is not None:
        said["policy.vision_backbone"] = options.backbone
    return said


def _going_on(options: TrainOptions, theirs: dict[str, str], step: Path, files: Files) -> dict[str, str]:
    """Raises ConfigurationError for another policy than the run's."""
    asked = theirs.pop("policy.type", None) or options.policy
    theirs.pop("policy.path", None)
    if asked is not None and "/" not in asked and asked != files.type:
        raise ConfigurationError(
            f"--policy asks for {asked}, and {step} is a {files.type}: leave --policy away, or begin another run"
        )
    return {"config_path": str(step / PRETRAINED / TRAINED), "resume": "true", **_either(options, theirs)}


def _whole(run: Path) -> Path:
    """The checkpoint that a run goes on from. Raises ConfigurationError where none is whole."""
    step, passed = training_runs.newest_whole(run)
    if step is None and passed:
        raise ConfigurationError(
            f"there is no whole checkpoint in {run} to go on from: {'; '.join(passed[:3])}. Begin anew with --overwrite"
        )
    if step is None:
        raise ConfigurationError(f"there is no checkpoint in {run} to go on from; leave --resume away")
    for why in passed:
        log.warning("the checkpoint %s; going on from %s", why, step.name)
    return step


def _trained_on(step: Path) -> Path | None:
    """The data set that a checkpoint was trained on, as LeRobot wrote it down."""
    said: Any = read_json(LocalPlace(step / PRETRAINED), TRAINED).get("dataset")
    root = cast("dict[str, Any]", said).get("root") if isinstance(said, dict) else None
    return Path(root) if isinstance(root, str) and Path(root).is_absolute() else None


def _environment(kind: str | None, said: Mapping[str, str]) -> dict[str, str]:
    """What it is given beside what it inherits."""
    # OpenMP's threads turn round and round while they wait for each other, which stands still on a busy machine: a step
    # of the example took 3.6 s of processor time, and 0.6 where they sleep.
    given = {_WAIT: os.environ.get(_WAIT, "PASSIVE")}
    # Nobody is asked for what lies here: LeRobot would ask the Hub for a data set of this name that lacks a file.
    asks = "true" in (said["policy.push_to_hub"].lower(), said.get("save_checkpoint_to_hub", "").lower())
    remote = any(name.startswith(("job.", "env.")) for name in said)
    return given | ({"HF_HUB_OFFLINE": "1"} if kind in _NEED_NO_HUB and not asks and not remote else {})
