"""What stands under the protocol's own names, whoever declares them (sections 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigurationError, brief
from ..wire import ACTIONS, ALIASES, POSES, RESERVED_NAMES

if TYPE_CHECKING:
    from .spec import Channel

#: Of each action the rule of the protocol that says what it means.
RULES: Mapping[str, str] = {
    "target_pose": "R-3",
    "target_joints": "R-4",
    "joint_delta": "R-5",
    "joint_velocity": "R-6",
    "pose_delta": "R-7",
    "target_grip": "R-8",
}
_POSE = "(7,): x y z in m and a unit quaternion w x y z"
_JOINTS = "(n,): one number for each joint"
_GRIP = "(1,): 0 open to 1 closed"
#: Of what is measured, by the last part of its name: the rule, and what it is.
_STATE = {"ee_pose": ("O-2", _POSE), "q": ("O-3", _JOINTS + ", in rad"), "dq": ("O-3", _JOINTS + ", in rad/s")}
_QUATERNION = "wxyz"


def check_measured(channels: Mapping[str, Channel]) -> None:
    """Raises ConfigurationError where one of the protocol's names is measured as what it is not."""
    for name, channel in channels.items():
        _check_name(name)
        known = ALIASES.get(name, name)
        first, _, rest = known.partition(".")
        if known == "task" and (channel.dtype, channel.shape) != ("str", ()):
            raise ConfigurationError(f"{name} is measured as {_said(channel)}; it is the instruction, a text (O-6)")
        if first == "grip" and channel.shape != ():
            _check(name, channel, "O-4", _GRIP)
        elif first == "robot_state" and (said := _STATE.get(rest.rpartition(".")[2])):
            _check(name, channel, *said)


def check_played(channels: Mapping[str, Channel]) -> None:
    """Raises ConfigurationError where one of the protocol's names is played as what it is not."""
    for name, channel in channels.items():
        _check_name(name)
        known = name.partition(".")[0]
        if known in ACTIONS:
            means = _POSE if known in POSES else _GRIP if known == "target_grip" else _JOINTS
            _check(name, channel, RULES[known], means)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigurationError(f"a channel is called {brief(name)}; expected a name that can be printed")
    if name in RESERVED_NAMES or name == "type":
        raise ConfigurationError(f"a channel is called {name}, which is the protocol's own; name it otherwise")


def _check(name: str, channel: Channel, rule: str, means: str) -> None:
    """``means``: the shape and what it is."""
    axes = means.partition(":")[0]
    shape = channel.shape
    fits = len(shape) == 1 and (axes == "(n,)" or shape[0] in (-1, int(axes[1:-2])))
    if not fits or channel.dtype == "str" or np.dtype(channel.dtype).kind not in "fiu":
        raise ConfigurationError(
            f"{name} is {_said(channel)}; the protocol has it as {means} ({rule}). Give what is another thing another "
            "name"
        )
    if means == _POSE and channel.order and _letters(channel.order) != "xyz" + _QUATERNION:
        raise ConfigurationError(
            f"{name} has the order {', '.join(channel.order)}; the protocol has it as x, y, z, w, x, y, z ({rule}): "
            "leave order away, and convert where it is another"
        )


def _letters(order: tuple[str, ...]) -> str:
    return "".join(each[-1:].casefold() for each in order)


def _said(channel: Channel) -> str:
    return f"{channel.shape} {channel.dtype}"
