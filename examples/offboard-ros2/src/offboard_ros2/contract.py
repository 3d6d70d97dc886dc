"""The contract: which topic holds what the policy calls by its name, as a TOML file says it. Needs no ROS."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, unknown
from offboard_client.robots import Channel, RobotSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

JOINT_STATE, POSE, IMAGE = "sensor_msgs/msg/JointState", "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/Image"
ARRAY, TRAJECTORY = "std_msgs/msg/Float64MultiArray", "trajectory_msgs/msg/JointTrajectory"
_COMMANDS = (ARRAY, TRAJECTORY)
#: What is played → what is measured of the same.
MEASURED: Mapping[str, str] = {"target_joints": "robot_state.q", "target_grip": "grip"}
_GRIP = Channel(shape=(1,), unit="0 open to 1 closed")


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic. ``joints``: by their names in the message, in the policy's order. ``size``: width and height.
    ``rate``: pictures a second of a camera that takes more than 30, so that a recording has all of them.

    ``open`` and ``closed``: where the gripper's joint is then. ``frame``: what the header of a pose has to say.
    """

    topic: str
    type: str
    joints: tuple[str, ...] = ()
    size: tuple[int, ...] = ()
    open: float | None = None
    closed: float | None = None
    frame: str | None = None
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Contract:
    """``rate``: set-points per second. ``stale_after``: seconds after which a topic without a message has failed.

    ``max_skew``: seconds; messages that came farther apart are no observation.
    """

    rate: float
    stale_after: float
    observation: Mapping[str, Topic]
    action: Mapping[str, Topic]
    max_skew: float | None = None

    def spec(self) -> RobotSpec:
        """The same as the robot's own contract."""
        return RobotSpec(
            measures={name: _channel(name, topic) for name, topic in self.observation.items()},
            plays={name: _channel(name, topic) for name, topic in self.action.items()},
            control_period=1 / self.rate,
            max_skew=self.max_skew,
            stale_after=self.stale_after,
        )


def read_contract(path: Path) -> Contract:
    """Raises ConfigurationError, which names the file and what is wrong in it."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return _read(found)
    except OSError as error:
        raise ConfigurationError(f"the contract {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.text}") from error


def _read(found: Mapping[str, Any]) -> Contract:
    _known(found, Contract, "the contract")
    tables = {name: _topics(found[name], name) for name in ("observation", "action")}
    numbers = {name: _positive(found[name], name) for name in ("rate", "stale_after", "max_skew") if name in found}
    if not 1 <= numbers["rate"] <= 1000:
        raise ConfigurationError(f"rate is {numbers['rate']:g}; expected set-points per second, from 1 to 1000")
    for name, topic in tables["observation"].items():
        _check(f"{name} of [observation]", topic, _needs(name))
    for name, topic in tables["action"].items():
        if name not in MEASURED:
            raise ConfigurationError(unknown("action", name, MEASURED, "of an arm here"))
        wanted = ("joints",) if name == "target_joints" else ("joints", "open", "closed")
        _check(f"{name} of [action]", topic, (_COMMANDS, wanted))
    for name, measured in MEASURED.items():
        if (played := tables["action"].get(name)) is None:
            continue
        if (seen := tables["observation"].get(measured)) is None:
            raise ConfigurationError(f"[action] has {name}, and [observation] lacks {measured}, from where it goes on")
        if played.joints != seen.joints:
            raise ConfigurationError(
                f"{name} is of {', '.join(played.joints)}, and {measured} of {', '.join(seen.joints)}; expected the "
                "same, in the same order"
            )
    return Contract(
        rate=numbers["rate"],
        stale_after=numbers["stale_after"],
        max_skew=numbers.get("max_skew"),
        observation=tables["observation"],
        action=tables["action"],
    )


def _needs(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The types that a topic of this name may have, and what has to be said of it."""
    if name.startswith("image."):
        return (IMAGE,), ("size",)
    known = {
        "robot_state.q": ((JOINT_STATE,), ("joints",)),
        "robot_state.ee_pose": ((POSE,), ("frame",)),
        "grip": ((JOINT_STATE,), ("joints", "open", "closed")),
    }
    if name not in known:
        raise ConfigurationError(unknown("observation", name, (*known, "image.NAME"), "that is read here"))
    return known[name]


def _check(what: str, topic: Topic, needs: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    types, wanted = needs
    if topic.type not in types:
        raise ConfigurationError(f"{what} is a {topic.type}; expected {' or '.join(types)}")
    for each in fields(Topic)[2:]:
        if each.name == "rate" and wanted == ("size",):  # which a camera may say
            continue
        said = getattr(topic, each.name) not in ((), None)
        if said != (each.name in wanted):
            raise ConfigurationError(f"{what} {'takes no' if said else 'needs'} {each.name}")
    if "open" in wanted and len(topic.joints) != 1:
        raise ConfigurationError(f"{what} has {len(topic.joints)} joints; a gripper has one")
    if "open" in wanted and topic.open == topic.closed:
        raise ConfigurationError(f"{what} is open and closed at {topic.open:g}")
    if len(set(topic.joints)) != len(topic.joints):
        raise ConfigurationError(f"{what} names a joint twice: {', '.join(topic.joints)}")
    if wanted == ("size",) and (len(topic.size) != 2 or min(topic.size) < 1):
        raise ConfigurationError(f"{what} has the size {list(topic.size)}; expected [width, height]")


def _topics(table: Any, name: str) -> dict[str, Topic]:
    if not isinstance(table, dict) or not table:
        raise ConfigurationError(f"[{name}] names no topic")
    return {each: _topic(said, f"{each} of [{name}]") for each, said in table.items()}


def _topic(said: Any, what: str) -> Topic:
    if not isinstance(said, dict):
        raise ConfigurationError(f"{what} is {said!r:.40}; expected a table")
    _known(said, Topic, what)
    values = dict(said)
    for name in ("topic", "type", "frame"):
        if name in said and not (isinstance(said[name], str) and said[name]):
            raise ConfigurationError(f"{name} of {what} is {said[name]!r:.40}; expected a text")
    for name, kind in (("joints", str), ("size", int)):
        if name in said:
            if not isinstance(said[name], list) or not all(type(each) is kind for each in said[name]):
                raise ConfigurationError(f"{name} of {what} is {said[name]!r:.60}; expected a list of {kind.__name__}")
            values[name] = tuple(said[name])
    for name in ("open", "closed"):
        if name in said:
            values[name] = _number(said[name], f"{name} of {what}")
    if "rate" in said:
        values["rate"] = _positive(said["rate"], f"rate of {what}")
    return Topic(**values)


def _known(found: Mapping[str, Any], kind: Any, what: str) -> None:
    names = {each.name: each.default for each in fields(kind)}
    for name in found:
        if name not in names:
            raise ConfigurationError(unknown("entry", name, names, f"of {what}"))
    for name, default in names.items():
        if name not in found and default is not None and default != ():
            raise ConfigurationError(f"{what} lacks {name}")


def _number(value: Any, what: str) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ConfigurationError(f"{what} is {value!r:.40}; expected a number")
    return float(value)


def _positive(value: Any, what: str) -> float:
    if (number := _number(value, what)) <= 0:
        raise ConfigurationError(f"{what} is {number:g}; expected a number above 0")
    return number


def _channel(name: str, topic: Topic) -> Channel:
    if name in ("grip", "target_grip"):
        return _GRIP
    if topic.size:
        width, height = topic.size
        return Channel(shape=(height, width, 3), dtype="uint8", unit="RGB", rate=topic.rate)
    if topic.frame:
        return Channel(shape=(7,), unit="m, unit quaternion wxyz", frame=topic.frame)
    return Channel(shape=(len(topic.joints),), unit="rad", order=topic.joints)
