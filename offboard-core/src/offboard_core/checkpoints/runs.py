"""The folder that a training writes its checkpoints into: begun once, gone on with, or thrown away if that is said."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from offboard_client.errors import ConfigurationError

from .record import read_record

_OPTIONS = "codec_options"


def begin_run(
    run: Path, checkpoints: Sequence[str], record: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Literal["begin", "resume", "overwrite"]:
    """What a training is to do with the folder ``run``, which holds these ``checkpoints``, oldest first.

    ``record``: what is to be recorded beside them. ``overwrite`` is also the answer for a folder without checkpoints.
    Raises ConfigurationError before anything is lost: there are some and nothing was said, there are none to go on
    from, or those there are were trained otherwise.
    """
    if resume and overwrite:
        raise ConfigurationError("--resume and --overwrite cannot both be meant; give one of them")
    if resume:
        if not checkpoints:
            raise ConfigurationError(f"there is no checkpoint in {run} to go on from; leave --resume away")
        there = read_record(run)
        if "codec" in there and "codec" in record:  # of options that nobody says all are as they are by themselves
            there.setdefault(_OPTIONS, {})
            record = {_OPTIONS: {}, **record}
        for name, value in record.items():
            if there.get(name, value) != value:
                raise ConfigurationError(
                    f"{run} was trained with {name} {there[name]!r}, its offboard.json says, and is to go on with "
                    f"{value!r}; give it the same, or train into another --exp-name"
                )
        return "resume"
    if checkpoints and not overwrite:
        raise ConfigurationError(
            f"{run} holds the checkpoints {', '.join(checkpoints[-5:])}; go on with --resume, choose another "
            "--exp-name, or throw them away with --overwrite"
        )
    return "overwrite" if run.is_dir() else "begin"


def throw_away(run: Path) -> None:
    """Remove a run, if it is there. Raises ConfigurationError."""
    try:
        shutil.rmtree(run)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigurationError(f"{run} cannot be thrown away: {error}") from None


def make_folder(path: Path) -> Path:
    """A folder with those above it, as an absolute path. Raises ConfigurationError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made: {error.strerror}") from None
    return path.absolute()
