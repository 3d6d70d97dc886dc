"""LeRobot's robot of a type, by the config's fields as LeRobot's own commands take them. Imports LeRobot."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import Any, cast

from offboard_client.errors import ConfigurationError, told, unknown

try:  # None of these carries types.
    yaml: Any = importlib.import_module("yaml")
    draccus: Any = importlib.import_module("draccus")
    cameras: Any = importlib.import_module("lerobot.cameras")
    robots: Any = importlib.import_module("lerobot.robots")
except ModuleNotFoundError as error:
    raise ConfigurationError(
        f"an arm of LeRobot needs LeRobot here ({error}): pip install 'offboard-lerobot[lerobot]', and what drives its "
        "motors, for instance 'lerobot[feetech]'"
    ) from error


_CAMERAS = (
    "--robot.cameras is {NAME: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}, with what the "
    "camera has (lerobot-find-cameras)"
)


def make_robot(kind: str, given: Mapping[str, Any]) -> Any:
    """LeRobot's robot, not connected. ``given``: field → value, dots between those of fields within fields.

    Raises ConfigurationError for a type that there is not, and for what it does not take.
    """
    _register(kind)
    if "cameras" in ".".join(given).split("."):
        _register_cameras()
    fields: dict[str, Any] = {"type": kind}
    for name, value in given.items():
        if name == "type":
            raise ConfigurationError(f"--robot.type is what follows after the colon: lerobot:{value}")
        place = fields
        *outer, last = name.split(".")
        for key in outer:
            inner: Any = place.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigurationError(f"--robot.{name} and --robot.{key} contradict each other")
            place = cast("dict[str, Any]", inner)
        place[last] = _value(value)
    try:
        config = draccus.decode(robots.RobotConfig, fields)
    except Exception as error:
        if missing := re.search(r"Missing required field\(s\) ((?:`\w+`(?:, )?)+)", str(error)):
            flags = " and ".join(f"--robot.{name}" for name in re.findall(r"\w+", missing[1]))
            raise ConfigurationError(f"lerobot:{kind} needs {flags}") from error
        raise ConfigurationError(
            f"lerobot:{kind} does not take these --robot.NAME: {_reason(error, fields)}"
        ) from error
    if getattr(config, "max_relative_target", None) is not None:
        raise ConfigurationError(
            "--robot.max_relative_target clips what is sent, and nobody is told; leave it out: the robot's limits "
            "refuse instead (joint_velocity, joint_offset)"
        )
    try:
        return robots.make_robot_from_config(config)
    except (Exception, SystemExit) as error:
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__) is not None:
            causes.append(cause)
        if torn := next((each for each in causes if isinstance(each, json.JSONDecodeError)), None):
            raise ConfigurationError(
                f"lerobot:{kind} cannot be made: its calibration, of --robot.id {given.get('id')}, is no JSON "
                f"({torn}). Make it anew with lerobot-calibrate"
            ) from error
        # LeRobot's own text is the whole config, and then the reason, which is the cause.
        said = f"lerobot:{kind} cannot be made: {told(causes[min(1, len(causes) - 1)])}"
        if any(isinstance(each, ModuleNotFoundError) for each in causes):
            said += "; install what drives its motors: pip install 'lerobot[dynamixel]', or 'lerobot[feetech]'"
        raise ConfigurationError(said) from error


def known_types() -> list[str]:
    """LeRobot's types of robots, and third parties', as far as what they import is there."""
    _register_all(None)
    return sorted(robots.RobotConfig.get_known_choices())


def _register(kind: str) -> None:
    """Raises ConfigurationError for a type that there is not."""
    known: Callable[[], Mapping[str, Any]] = robots.RobotConfig.get_known_choices
    missing = _register_all(kind)
    if kind not in known():
        lacking = f". These cannot be imported: {'; '.join(missing)}" if missing else ""
        raise ConfigurationError(unknown("robot", kind, known(), "of LeRobot") + lacking)


def _register_all(kind: str | None) -> list[str]:
    """LeRobot knows a type when its module was imported: its own, the likeliest first, or a ``lerobot_robot_…``.

    Until ``kind`` is known, if that is one. What cannot be imported, and why.
    """
    known: Callable[[], Mapping[str, Any]] = robots.RobotConfig.get_known_choices
    if kind in known():
        return []
    own = [module.name for module in pkgutil.iter_modules(robots.__path__) if module.ispkg]
    missing: list[str] = []
    for name in sorted(own, key=lambda name: -SequenceMatcher(None, name, kind or "").ratio()):
        try:
            importlib.import_module(f"{robots.__name__}.{name}")
        except (Exception, SystemExit) as error:
            missing.append(f"{name} ({told(error)})")
        if kind in known():
            return missing
    _register_third_parties()
    return missing


def _register_cameras() -> None:
    """Those whose libraries are there, and third parties'; of another one the config's error says so."""
    for module in pkgutil.iter_modules(cameras.__path__):
        if module.ispkg:
            with contextlib.suppress(Exception):
                importlib.import_module(f"{cameras.__name__}.{module.name}")
    _register_third_parties()


def _register_third_parties() -> None:
    importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()


def _reason(error: Exception, fields: Mapping[str, Any]) -> str:
    """What is wrong with the fields; of a name that there is not, which there are."""
    path: tuple[str, ...] = tuple(getattr(error, "key_path", ()))
    where = f"{'.'.join(path)}: " if path else ""
    given: Any = fields
    for key in path:
        given = cast("Mapping[str, Any]", given).get(key) if isinstance(given, Mapping) else None
    kinds = cameras.CameraConfig if path[:1] == ("cameras",) and len(path) == 2 else robots.RobotConfig
    if isinstance(given, Mapping) and (kinds is not robots.RobotConfig or not path):
        kind, known = str(cast("Mapping[str, Any]", given).get("type")), kinds.get_known_choices()
        if kind not in known:
            return where + unknown("camera's type", kind, known)
        if strange := re.search(r"The fields? `(\w+)`", str(error)):
            return where + unknown("field", strange[1], [each.name for each in dataclasses.fields(known[kind])])
    # What a config's own check raises is the cause of an error that says nothing of it.
    cause = error.__cause__
    said = told(cause if isinstance(cause, Exception) and not path else error)
    return f"{said}; {_CAMERAS}" if "camera" in said.lower() else said


def _value(value: Any) -> Any:
    """As LeRobot's commands read it: YAML."""
    if not isinstance(value, str):
        return value
    with contextlib.suppress(yaml.YAMLError):
        return yaml.safe_load(value)
    return value
