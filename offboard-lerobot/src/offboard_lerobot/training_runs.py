"""The folder of a training run: which of its checkpoints a training can go on from, and what one leaves that ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints import Incomplete, LocalPlace, header, read_json, write_record

from .files import MIGRATE, RECORDED, TRAINED, read
from .places import CHECKPOINTS, LAST, PRETRAINED

_STATE, _GROUPS = "training_state", "optimizer_param_groups.json"
#: What the columns of the data set were when a run began.
_SHAPES = "offboard.columns.json"
#: What a run's folder holds before it has a checkpoint.
_EMPTY = {RECORDED, CHECKPOINTS, _SHAPES}
#: And a run, beside its checkpoints; what makes a folder one.
_RUN = {*_EMPTY, "wandb", "eval"}


def steps_in(run: Path) -> list[Path]:
    """The folders of the checkpoints, oldest first, whole or not."""
    try:
        found = [path for path in (run / CHECKPOINTS).iterdir() if path.name.isdecimal() and path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigurationError(f"{run / CHECKPOINTS} cannot be read: {error.strerror}") from None
    return sorted(found, key=lambda path: int(path.name))


def problem(step: Path) -> str | None:
    """Why no training can go on from a checkpoint; None: it can.

    LeRobot writes what is served first, then what a training goes on with, each file in its place.
    """
    try:
        if not read(LocalPlace(step / PRETRAINED)).steps:
            return f"it was written by LeRobot before 0.4: migrate it ({MIGRATE} {step / PRETRAINED})"
        trained = read_json(LocalPlace(step / PRETRAINED), TRAINED)
        state = LocalPlace(step / _STATE)
        for name in ("rng_state.safetensors", "optimizer_state.safetensors"):
            header(state, name)
        number = read_json(state, "training_step.json").get("step")
        if type(number) is not int:
            raise Incomplete("training_step.json says no step")
        if trained.get("scheduler") is not None:
            read_json(state, "scheduler_state.json")
        json.loads((step / _STATE / _GROUPS).read_bytes())
    except Incomplete as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{_GROUPS} cannot be read ({error})"
    return None


def check_place(run: Path, data: Path) -> None:
    """Raises ConfigurationError for a folder that no run may have: with a data set in it, or what others keep there."""
    real, read = run.resolve(), data.resolve()
    if real.is_relative_to(read) or read.is_relative_to(real):
        raise ConfigurationError(f"{run} and the data set {data} are one in the other: train into another --output-dir")
    if run.is_dir() and not steps_in(run) and (others := set(os.listdir(run)) - _RUN):
        raise ConfigurationError(
            f"{run} is there and no run of LeRobot's, for none has {min(others)}; so nothing of it is thrown "
            "away. Train into another --output-dir, or say --exp-name"
        )


def newest_whole(run: Path) -> tuple[Path | None, list[str]]:
    """What a training goes on from, None where there is nothing; and of the newer ones why it does not."""
    passed: list[str] = []
    for step in reversed(steps_in(run)):
        if (why := problem(step)) is None:
            return step, passed
        passed.append(f"{step.name} is not whole ({why})")
    return None, passed


def read_shapes(run: Path) -> dict[str, str]:
    """What :func:`record_beside` left of the data set's columns; {} where that is not there."""
    try:
        found = json.loads((run / _SHAPES).read_bytes())
        return {str(name): str(shape) for name, shape in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def record_beside(run: Path, record: dict[str, object], shapes: Mapping[str, str], *, begun: bool) -> None:
    """Leave the record in the run, and in each checkpoint that is there; in the run also the ``shapes`` of the data
    set's columns. ``begun``: LeRobot has seen the run's folder.

    Before that it takes a folder that is there for another's run.
    """
    if not begun and not run.is_dir():
        return
    with contextlib.suppress(OSError):  # the disk is full, or a folder gone again: LeRobot's own error says more
        run.mkdir(parents=True, exist_ok=True)
        write_record(run, record)
        if not (run / _SHAPES).exists():
            (run / _SHAPES).write_text(json.dumps(shapes, indent=1) + "\n", "utf-8")
        for step in steps_in(run):
            if (step / PRETRAINED).is_dir():
                write_record(step / PRETRAINED, record)


def tidy(run: Path, before: Sequence[str]) -> list[str]:
    """Remove the checkpoints that are not whole and were not there ``before``; their names.

    The run's folder goes too, where it came to none.
    """
    cut = [step for step in steps_in(run) if step.name not in before and problem(step) is not None]
    for step in cut:
        shutil.rmtree(step, ignore_errors=True)
    with contextlib.suppress(OSError):
        last = run / CHECKPOINTS / LAST
        if last.is_symlink() and not last.exists():
            last.unlink()
        if not steps_in(run) and run.is_dir() and set(os.listdir(run)) <= _EMPTY:
            shutil.rmtree(run)
    return [step.name for step in cut]
