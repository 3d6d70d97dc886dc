"""The data set of a training: whether LeRobot reads it, and whether it is what the codec makes, or a run began with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError
from offboard_core.training import MADE, made_with
from offboard_core.types import Checkpoint

from . import codecs
from .codecs import IMAGES, ArmOptions
from .features import ACTION
from .files import Files

INFO = Path("meta", "info.json")
#: What LeRobot's training reads before the numbers.
_META = ("stats.json", "tasks.parquet", "episodes")
_ARM = ("ee", "joints", "ee_traj", "joints_traj")
_CONVERT = "python -m lerobot.{}.convert_dataset_v21_to_v30 --repo-id=NAME --root={}"
_IMAGES = ("image", "video")


def read_info(folder: Path) -> dict[str, Any]:
    """``meta/info.json`` of a data set that LeRobot 0.4 and 0.6 train on. Raises ConfigurationError."""
    try:
        found = json.loads((folder / INFO).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigurationError(f"{folder} is no LeRobot data set: it has no {INFO}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{folder / INFO} cannot be read: {error}") from None
    info = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if type(info.get("fps")) not in (int, float) or not isinstance(info.get("features"), dict):
        raise ConfigurationError(f"{folder / INFO} says no fps and features: is that a LeRobot data set?")
    version = str(info.get("codebase_version"))
    if not version.startswith("v3"):
        made = made_with(folder).get("codec")
        how = f", made with {made}" if made else ""
        raise ConfigurationError(
            f"{folder} is in LeRobot's form {version}{how}, and LeRobot trains on v3: "
            "convert the recordings with a codec of LeRobot's, or the data set with its own "
            f"{_CONVERT.format('scripts', folder)} (lerobot.datasets.v30 in LeRobot 0.4)"
        )
    for name in _META:
        if not (folder / "meta" / name).exists():
            raise ConfigurationError(f"{folder} has no meta/{name}, which LeRobot trains with: is it wholly copied?")
    if not any(folder.glob("data/*/*.parquet")):
        raise ConfigurationError(f"{folder} has no frames (data/*/*.parquet): is it wholly copied?")
    for name, feature in features_of(info).items():
        if feature.get("dtype") == "video" and not any((folder / "videos" / name).glob("*/*.mp4")):
            raise ConfigurationError(f"{folder} has no videos of {name}, one of its features: is it wholly copied?")
    return info


def said_of(folder: Path) -> dict[str, Any]:
    """What a data set says of itself: its rate, and the codec where `offboard convert` made it."""
    fps = read_info(folder)["fps"]
    made = made_with(folder)
    if made.get("action_fps", fps) != fps:
        raise ConfigurationError(
            f"{folder / MADE} says {made['action_fps']:g} steps per second, and {INFO} says {fps:g}: convert it anew"
        )
    return {**made, "action_fps": fps}


def check_codec(folder: Path, info: Mapping[str, Any], name: str, *, exactly: bool) -> None:
    """That a data set is what the codec ``name`` makes. ``exactly``: LeRobot shows the policy all that is observed.

    Raises ConfigurationError. Of a codec that is not one of this package nothing is known.
    """
    plugin, _, codec = name.rpartition(".")
    if plugin != "lerobot" or codec not in _ARM:
        return
    wanted = getattr(codecs, codec)(_options(folder), Checkpoint(id="training")).features
    features = features_of(info)
    for column, feature in wanted.items():
        said = features.get(column)
        if said is None:
            raise ConfigurationError(
                f"{folder} was not made with the codec {name}: it has no column {column}; it has {', '.join(features)}"
            )
        shape, is_picture = said.get("shape"), column.startswith(IMAGES)
        if said.get("dtype") not in _IMAGES if is_picture else shape != list(feature.shape):
            raise ConfigurationError(
                f"{folder} was not made with the codec {name}: its column {column} is {said.get('dtype')} {shape}, and "
                f"{'an image' if is_picture else list(feature.shape)} in the codec"
            )
    more = [column for column in features if column.startswith(("observation", ACTION)) and column not in wanted]
    if more and exactly:
        raise ConfigurationError(
            f"{folder} has the column {more[0]} beside what the codec {name} makes: the policy would be trained on it, "
            "and nobody could show it one. Take it out, or name another codec (--codec)"
        )


def shapes_of(info: Mapping[str, Any]) -> dict[str, str]:
    """What of a data set a policy is trained on, each column in words that two can be compared by."""
    columns = features_of(info)
    return {name: _form(columns[name]) for name in columns if name.startswith(("observation", ACTION))}


def check_same(
    folder: Path, info: Mapping[str, Any], files: Files, before: Path | None, shapes: Mapping[str, str]
) -> None:
    """That a run may go on with a data set. ``files``: its checkpoint; ``before``: the data set it was trained on.
    ``shapes``: what that had when the run began, {} where nobody wrote it down: it may be another one by now.

    Raises ConfigurationError naming what is otherwise.
    """
    features = features_of(info)
    for name, field in {**files.inputs, **files.outputs}.items():
        shape = None if field.shape is None else list(field.shape)
        if name not in features:
            raise _otherwise(folder, files, f"has no {name}", f"which was trained with; it has {', '.join(features)}")
        if field.dtype != "uint8" and (there := features[name].get("shape")) != shape:
            raise _otherwise(folder, files, f"has {name} {there}", f"and it was trained on {shape}")
    if not shapes and before is not None and before != folder:
        try:
            shapes = shapes_of(read_info(before))
        except ConfigurationError:  # it is no longer there, or what is there is something else
            return
    there = shapes_of(info)
    for name in dict.fromkeys((*shapes, *there)) if shapes else ():
        then, now = shapes.get(name, "nothing"), there.get(name, "nothing")
        if then != now:
            raise _otherwise(folder, files, f"has {name} {now}", f"and the run began with {then}")


def features_of(info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Its columns; what is no map is none."""
    return {name: feature for name, feature in info["features"].items() if isinstance(feature, dict)}


def _otherwise(folder: Path, files: Files, has: str, before: str) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} {has}, {before} ({files.folder}): go on with the data set that it began with, or begin another run"
    )


def _form(feature: Mapping[str, Any]) -> str:
    names: Any = feature.get("names")
    named = isinstance(names, list) and feature.get("dtype") not in _IMAGES
    return f"{feature.get('shape')}{f' {names}' if named else ''}"


def _options(folder: Path) -> ArmOptions:
    """What `offboard convert` was told of the columns that the codec makes."""
    try:
        said: Any = json.loads((folder / MADE).read_bytes())["options"]
        cameras: Any = said.get("cameras")
        map_ = {str(name): str(value) for name, value in said.get("map", {}).items()}
        return ArmOptions(map=map_, cameras=None if cameras is None else str(cameras))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ArmOptions()
