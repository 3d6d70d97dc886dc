"""The form of data sets that GR00T trains on: LeRobot's v2, and ``meta/modality.json``, which parts the columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError
from offboard_core.training import check_numbers
from offboard_core.types import Checkpoint

from . import arm

MODALITY = Path("meta", "modality.json")
_INFO = Path("meta", "info.json")
#: Where LeRobot's data sets have the number of the instruction, and what GR00T calls that; without its prefix.
_TASK, _ANNOTATION = "task_index", arm.INSTRUCTION.removeprefix("annotation.")
#: What GR00T's own loader reads besides.
_FILES = ("episodes.jsonl", "tasks.jsonl")


def modality_json(codec: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What ``meta/modality.json`` says of a data set that was made with one of the arm codecs (``ee_rot6d``).

    The state's groups are columns of their own; those of the action are parts of one, from ``start`` to before ``end``.
    """
    layout = arm.LAYOUTS[codec]
    state = {_bare(key): {"start": 0, "end": width, "original_key": _bare(key)} for key, width in layout.state.items()}
    ends = np.cumsum([*layout.action.values()]).tolist()
    action = {
        _bare(key): {"start": end - width, "end": end}
        for (key, width), end in zip(layout.action.items(), ends, strict=True)
    }
    video = {_bare(key): {"original_key": _bare(key)} for key in (arm.EXTERIOR, arm.WRIST)}
    return {"state": state, "action": action, "video": video, "annotation": {_ANNOTATION: {"original_key": _TASK}}}


def check_data_set(folder: Path, codec: str | None, fps: float) -> None:
    """That a data set is what GR00T reads, and was made with ``codec``; writes its ``modality.json`` where it has none.

    ``codec``: one of the arm codecs; None for another, of which nothing is known. ``fps``: the rate that is recorded.
    Raises ConfigurationError.
    """
    info = _map(folder / _INFO)
    if info is None:
        raise ConfigurationError(f"{folder} is no LeRobot data set: it has no {_INFO}")
    version = str(info.get("codebase_version"))
    if not version.startswith("v2"):
        raise ConfigurationError(
            f"{folder} is in LeRobot's form {version}, and GR00T reads v2: convert it with GR00T's own "
            "scripts/lerobot_conversion/convert_v3_to_v2.py"
        )
    if missing := [name for name in _FILES if not (folder / "meta" / name).is_file()]:
        raise ConfigurationError(f"{folder} has no meta/{missing[0]}, which GR00T reads: is it wholly copied?")
    if (rate := info.get("fps")) != fps:
        raise ConfigurationError(
            f"{folder} has {rate} steps per second, and {fps:g} would be recorded: say --fps {rate}"
        )
    check_numbers(folder)
    there = _map(folder / MODALITY)
    if codec is None:
        if there is None:
            raise ConfigurationError(f"{folder} has no {MODALITY}, which says what its columns hold")
        return
    _check_columns(folder, codec, info)
    if there is None:
        _write(folder / MODALITY, modality_json(codec))
    else:
        _check_modality(folder / MODALITY, codec, there)


def _check_columns(folder: Path, codec: str, info: Mapping[str, Any]) -> None:
    found: Any = info.get("features")
    features = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    for name, wanted in getattr(arm, codec)(arm.ArmOptions(), Checkpoint(id="training")).features.items():
        said: Any = features.get(name)
        if not isinstance(said, dict):
            raise ConfigurationError(
                f"{folder} was not made with the codec gr00t.{codec}: it has no column {name}; it has "
                f"{', '.join(features)}"
            )
        shape = cast("dict[str, Any]", said).get("shape")
        if shape != list(wanted.shape):
            raise ConfigurationError(
                f"{folder} was not made with the codec gr00t.{codec}: its column {name} is {shape}, and "
                f"{list(wanted.shape)} in the codec"
            )


def _check_modality(path: Path, codec: str, there: Mapping[str, Any]) -> None:
    for kind, parts in modality_json(codec).items():
        found: Any = there.get(kind)
        for name, wanted in parts.items():
            said: Any = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
            given = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
            if any(given.get(key) != value for key, value in wanted.items()):
                raise ConfigurationError(
                    f"{path} is not that of the codec gr00t.{codec}: of the {kind} {name} it says {said}, expected "
                    f"{wanted}"
                )


def _map(path: Path) -> dict[str, Any] | None:
    """What a file holds; None where there is none. Raises ConfigurationError for what is no map."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} holds no map")
    return cast("dict[str, Any]", found)


def _write(path: Path, value: Mapping[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
        fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written, and GR00T reads it: {error.strerror}") from None


def _bare(key: str) -> str:
    return key.partition(".")[2]
