"""What openpi's training leaves on a disk or in a store, told by its file names alone.

A step's folder holds ``params/`` (JAX, written by orbax) or ``model.safetensors`` (PyTorch), and the statistics
``assets/ASSET_ID/norm_stats.json``, where an asset id may have slashes. While orbax saves, the folder is called
``STEP.orbax-checkpoint-tmp-N``.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints import (
    WEIGHTS,
    Incomplete,
    LocalPlace,
    check_record,
    header,
    is_lfs_pointer,
    still_written,
)

PARAMS = "params/_METADATA"
ASSETS = "assets"
STATS = "norm_stats.json"
#: What training goes on from; nobody needs it to serve.
TRAIN_STATE = "train_state/"
#: What offboard itself knows about a checkpoint; see ``docs/how-to/serve-openpi.md``.
RECORDED = "offboard.json"

#: Bytes of an ``offboard.json``, and files and folders of a step: far more than anybody writes.
LONGEST_RECORD = 2**20
_MOST_FILES = 100_000
#: A pointer of Git LFS is three short lines.
_LARGEST_POINTER = 1024

#: For the error about a folder that holds no checkpoint.
EXPECTED = f"params/ (or {WEIGHTS}) and {ASSETS}/…/{STATS}"


#: Files of a step that openpi will never serve as it is → what it is, and what to do about that.
_OTHER_KINDS = {
    f"{WEIGHTS}.index.json": f"its weights are spread over several files: join them into one {WEIGHTS}",
    "adapter_config.json": "it is a PEFT adapter, which has no weights of its own: merge it into its policy, save that",
    "config.json": "its config.json is of another framework: serve LeRobot's pi0 and pi0.5 with --vendor lerobot",
    "manifest.ocdbt": "it is the params/ of a step: give the folder above it",
}


class BadRecord(ConfigurationError):
    """An ``offboard.json`` cannot be read: what it lies beside is not served, and nothing else is harmed."""


def other_kind(names: Iterable[str]) -> str | None:
    """What a folder is that will never be a step, however long one waits; None if nothing says so."""
    have = set(names)
    if PARAMS in have or WEIGHTS in have:
        return None
    return next((f"{kind} ({name} is there)" for name, kind in _OTHER_KINDS.items() if name in have), None)


def missing(names: Iterable[str]) -> str | None:
    """What a step whose files have these relative paths lacks; None if it is whole."""
    have = set(names)
    if kind := other_kind(have):
        return kind
    if WEIGHTS not in have:
        if PARAMS not in have:
            return f"neither {PARAMS} nor {WEIGHTS} is there"
        data = [n for n in have if n.startswith("params/") and ("/d/" in n or n.endswith("/.zarray"))]
        if not data:
            return "params/ holds no weights"
    if asset_ids(have):
        return None
    converted = (
        f"; openpi's conversion to PyTorch copies none: copy {ASSETS}/ of the JAX step" if WEIGHTS in have else ""
    )
    return f"{ASSETS}/ holds no {STATS}{converted}"


def asset_ids(names: Iterable[str]) -> list[str]:
    """The asset ids of a step, sorted: openpi picks the one that its config names."""
    start, end = f"{ASSETS}/", f"/{STATS}"
    return sorted(n[len(start) : -len(end)] for n in names if n.startswith(start) and n.endswith(end))


def format_of(names: Iterable[str]) -> str:
    """``pytorch`` or ``jax``; openpi decides by the same file."""
    return "pytorch" if WEIGHTS in set(names) else "jax"


def names_in(step: Path) -> list[str]:
    """The relative paths of a local step's files, without those that only training needs."""
    return list(_walk(step))


def _walk(step: Path) -> Iterator[str]:
    """Links are followed, but not in a circle. Raises OSError for more files than anybody saves."""
    folders: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(step, "", frozenset())]
    left = _MOST_FILES
    while folders:
        folder, under, above = folders.pop()
        status = folder.stat()
        this = (status.st_dev, status.st_ino)
        if this in above or under == TRAIN_STATE:
            continue
        for path in folder.iterdir():
            left -= 1
            if left < 0:
                raise OSError(errno.EFBIG, f"it holds more than {_MOST_FILES:,} files")
            name = f"{under}{path.name}"
            if path.is_dir():
                folders.append((path, f"{name}/", above | {this}))
            elif path.is_file():  # no pipe, and no link to what is not there
                yield name


def local_problem(step: Path) -> str | None:
    """What is wrong with a local step and what to do about it, by its names and by the length of PyTorch weights.

    None if it is whole.
    """
    try:
        names = names_in(step)
        if pointer := next((name for name in names if _is_pointer(step / name)), None):
            return f"{pointer} is a Git LFS pointer, not the file itself: run git lfs pull in {step}"
        if kind := other_kind(names):
            return kind
        problem = missing(names) or (_cut_short(step) if WEIGHTS in names else None)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if problem is None else f"{problem}; {still_written(step)}"


def _is_pointer(path: Path) -> bool:
    if path.stat().st_size > _LARGEST_POINTER:
        return False
    with path.open("rb") as file:
        return is_lfs_pointer(file.read(_LARGEST_POINTER))


def _cut_short(step: Path) -> str | None:
    try:
        header(LocalPlace(step), WEIGHTS)
    except Incomplete as error:
        return str(error)
    return None


def read_record(content: bytes, where: str) -> dict[str, Any]:
    """What an ``offboard.json`` holds. Raises BadRecord."""
    if len(content) > LONGEST_RECORD:
        raise BadRecord(f"{where} has more than {LONGEST_RECORD:,} bytes")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{where} is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadRecord(f"{where} holds no map")
    try:
        check_record(cast("dict[str, Any]", record), "config_name")
    except ConfigurationError as error:
        raise BadRecord(f"{where}: {error.text}") from None
    return cast("dict[str, Any]", record)


def widths(step: Path, asset_id: str) -> dict[str, int]:
    """How wide ``state`` and ``actions`` of the training data were, as the statistics say; {} if they do not."""
    try:
        stats = json.loads((step / ASSETS / asset_id / STATS).read_bytes())["norm_stats"]
        return {name: len(stats[name]["mean"]) for name in ("state", "actions")}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def middles(step: Path) -> list[list[float]]:
    """The middle of each number of an action, for each set of statistics that has quantiles.

    It is where openpi's quantile normalisation puts a zero.
    """
    found: list[list[float]] = []
    for asset_id in asset_ids(names_in(step)):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            stats = json.loads((step / ASSETS / asset_id / STATS).read_bytes())["norm_stats"]["actions"]
            found.append([(float(low) + float(high)) / 2 for low, high in zip(stats["q01"], stats["q99"], strict=True)])
    return found


def is_step(path: Path) -> bool:
    """Whether a folder looks like one step: its weights are there, whole or not."""
    return (path / PARAMS).is_file() or ((path / WEIGHTS).is_file() and (path / ASSETS).is_dir())


def is_other_kind(path: Path) -> bool:
    """Whether a folder that holds no steps is itself what :func:`other_kind` knows."""
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return not any(name.isdigit() for name in names) and other_kind(names) is not None


def recognises(path: Path) -> bool:
    """Whether a folder looks like openpi's; reads names only."""
    if not path.is_dir():
        return False
    return is_step(path) or any(step.name.isdigit() and is_step(step) for step in path.iterdir())
