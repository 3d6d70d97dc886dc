"""Which files a checkpoint of GR00T's training consists of, and whether they are whole.

A run's folder holds ``checkpoint-N`` and copies of the best ones, ``checkpoint-N-best-METRIC_VALUE``; and the last
model itself, laid out as each of them. Beside the weights lie the optimiser's, twice as large, for training alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from offboard_core.checkpoints import (
    INDEX,
    WEIGHTS,
    Incomplete,
    LocalPlace,
    Place,
    Unfit,
    read_json,
    still_written,
    weights,
)

from .checkpoint import CONFIG, METADATA, PROCESSOR, STATISTICS, Contents, read_contents
from .generation import Generation

#: What is called so in a run's folder is one of its checkpoints.
PREFIX = "checkpoint-"
BEST = re.compile(rf"{PREFIX}([0-9]{{1,18}})-best-.+")
#: For the error about a folder that holds no checkpoint.
EXPECTED = f"{CONFIG}, whole weights, and {PROCESSOR} and {STATISTICS} (or N1.5's {METADATA})"
#: The folders of a checkpoint that a model is made of, and the endings of files there; what is left are pickles.
_FOLDERS = ("", "processor/", "experiment_cfg/")
_KINDS = (".json", ".safetensors", ".yaml", ".txt", ".model", ".jinja")


def look(place: Place) -> Contents:
    """What a whole checkpoint says of itself. Raises Incomplete; of a store also ConfigurationError."""
    contents = read_contents(place)
    weights(place)
    return contents


def local_problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint on this machine and what to do about it; None if it is whole."""
    try:
        look(LocalPlace(folder))
    except Incomplete as error:
        return explained(error, folder)
    return None


def explained(error: Incomplete, folder: Path) -> str:
    """What is wrong with a checkpoint on this machine, and what to do about it."""
    return str(error) if isinstance(error, Unfit) else f"{error}; {still_written(folder, error.remedy)}"


def wanted(name: str) -> bool:
    """Whether a model is made of a file of this relative path: of no optimiser, and of no other checkpoint below it."""
    folder = name[: name.rfind("/") + 1]
    return folder in _FOLDERS and name.endswith(_KINDS)


def names_in(folder: Path) -> list[str]:
    """The relative paths of the files that a model on this machine is made of."""
    return [
        name
        for below in _FOLDERS
        if (folder / below).is_dir()
        for path in (folder / below).iterdir()
        if wanted(name := f"{below}{path.name}") and path.is_file()
    ]


def is_checkpoint(place: Place) -> bool:
    """Whether a folder looks like one checkpoint, whole or not: its weights are there, or GR00T's own files."""
    return any(place.size(name) is not None for name in (PROCESSOR, f"processor/{PROCESSOR}", METADATA, WEIGHTS, INDEX))


def is_run(names: list[str]) -> bool:
    """Whether a folder with these in it holds checkpoints."""
    return any(re.fullmatch(rf"{PREFIX}[0-9]{{1,18}}", name) or BEST.fullmatch(name) for name in names)


def recognises(path: Path) -> bool:
    """Whether a folder looks like GR00T's; reads names, and the small config of one checkpoint."""
    if not path.is_dir():
        return False
    below = [path / name for name in sorted(os.listdir(path)) if is_run([name])]
    return any(_is_groots(LocalPlace(folder)) for folder in (path, *below[:1]))


def _is_groots(place: LocalPlace) -> bool:
    if any(place.size(name) is not None for name in (PROCESSOR, f"processor/{PROCESSOR}", METADATA)):
        return True
    try:
        return Generation.of(read_json(place, CONFIG)) is not None
    except Incomplete:
        return False
