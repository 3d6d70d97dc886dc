"""What a robot says that it measures, held against its contract while it drives: a camera may change, a sensor die."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from ..errors import RobotFailed
from .base import Robot
from .calls import Asked
from .spec import Channel


def observed(robot: Robot) -> dict[str, Any]:
    """:meth:`Robot.observe`. Raises RobotFailed also for what is not as ``robot.spec`` has it."""
    with Asked("observe"):
        return _held(robot.observe(), _channels(robot), "observe", whole=True)


def measured(robot: Robot) -> dict[str, Any]:
    """:meth:`Robot.state`, which may leave some names out. Raises RobotFailed as :func:`observed` does."""
    with Asked("state"):
        return _held(robot.state(), _channels(robot), "state", whole=False)


def _channels(robot: Robot) -> Mapping[str, Channel]:
    """None of a robot that a program drives by itself, and that states no contract."""
    spec = getattr(robot, "spec", None)
    return {} if spec is None else spec.measures


def _held(said: Any, channels: Mapping[str, Channel], call: str, *, whole: bool) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        raise RobotFailed(f"{call} returned {_kind(said)}; expected a map of what the robot measures")
    found = dict(cast("Mapping[str, Any]", said))
    for name, channel in channels.items():
        if name not in found:
            if whole:
                raise RobotFailed(f"{call} returned no {name}, which the robot says that it measures")
        elif (unlike := _unlike(found[name], channel)) is not None:
            raise RobotFailed(f"{name} of {call} is {unlike}; the robot says that it is {_said(channel)}")
    return found


def _unlike(value: Any, channel: Channel) -> str | None:
    """What ``value`` is, if it is not what the channel holds."""
    if channel.dtype == "str":
        return None if isinstance(value, str) else _kind(value)
    if not isinstance(value, np.ndarray):
        return _kind(value)
    array = cast("np.ndarray[Any, Any]", value)
    like = len(array.shape) == len(channel.shape) and all(
        expected in (-1, size) for size, expected in zip(array.shape, channel.shape, strict=True)
    )
    if not like or array.dtype.kind != np.dtype(channel.dtype).kind:
        return f"{array.shape} {array.dtype}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "not finite"
    return None


def _said(channel: Channel) -> str:
    return "text" if channel.dtype == "str" else f"{channel.shape} {channel.dtype}"


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
