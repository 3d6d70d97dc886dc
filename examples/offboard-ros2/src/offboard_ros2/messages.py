"""Messages as the policy's numbers, and set-points as messages. Needs no ROS: a message is whatever has its fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from offboard_client.errors import RobotFailed, told

from .contract import TRAJECTORY, Topic

Vector = NDArray[np.float64]
#: Seconds and nanoseconds of a clock that nobody here knows.
Stamp = tuple[int, int]
#: How far a quaternion's length may be from 1, and a gripper beyond its ends, before it is something else.
_UNIT, _BEYOND = 0.01, 0.05
#: Encoding → which channels are red, green and blue, of how many.
_ENCODINGS = {"rgb8": ((0, 1, 2), 3), "bgr8": ((2, 1, 0), 3), "rgba8": ((0, 1, 2), 4), "bgra8": ((2, 1, 0), 4)}


class JointState(Protocol):
    """sensor_msgs/msg/JointState, as far as it is read: positions in rad, by the joints' names."""

    name: Sequence[str]
    position: Sequence[float]


class Image(Protocol):
    """sensor_msgs/msg/Image: ``height`` rows of ``step`` bytes each."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any


class PoseStamped(Protocol):
    """geometry_msgs/msg/PoseStamped: metres, and a quaternion x y z w, in the frame that the header names."""

    header: Any
    pose: Any


def stamp(message: Any) -> Stamp | None:
    """When the message says that it was measured; None where it has no header, or says nothing there."""
    at = getattr(getattr(message, "header", None), "stamp", None)
    found = getattr(at, "sec", 0), getattr(at, "nanosec", 0)
    return found if found != (0, 0) else None


def read(reader: Callable[[Any, Topic], Any], message: Any, topic: Topic) -> Any:
    """What ``reader`` makes of a message. Raises RobotFailed for whatever it cannot read."""
    try:
        return reader(message, topic)
    except (AttributeError, TypeError, ValueError) as error:
        raise RobotFailed(f"{topic.topic} says what no {topic.type} says: {told(error)}") from error


def joints(message: JointState, topic: Topic) -> Vector:
    """The contract's joints (n,) in rad, in its order. Raises RobotFailed for a message that lacks one of them.

    Also for one that names one twice: nobody knows which of its positions is meant.
    """
    names = list(message.name)
    places = {name: i for i, name in enumerate(names)}
    if twice := [name for name in topic.joints if names.count(name) > 1]:
        raise RobotFailed(f"{topic.topic} names {', '.join(twice)} twice: do two nodes publish it, or one wrongly?")
    if lacking := [name for name in topic.joints if name not in places or places[name] >= len(message.position)]:
        raise RobotFailed(f"{topic.topic} has no position of {', '.join(lacking)}; it has {', '.join(names)}")
    return _finite([message.position[places[name]] for name in topic.joints], topic)


def grip(message: JointState, topic: Topic) -> Vector:
    """The gripper's closure (1,), 0 open to 1 closed."""
    assert topic.open is not None
    assert topic.closed is not None
    closure = (joints(message, topic) - topic.open) / (topic.closed - topic.open)
    if not -_BEYOND <= closure[0] <= 1 + _BEYOND:
        raise RobotFailed(f"{topic.topic} has {topic.joints[0]} {closure[0]:.2f} closed: are open and closed its ends?")
    return np.clip(closure, 0, 1)


def pose(message: PoseStamped, topic: Topic) -> Vector:
    """(7,): x y z in m, unit quaternion w x y z. Raises RobotFailed for another frame than the contract's."""
    if message.header.frame_id != topic.frame:
        raise RobotFailed(
            f"{topic.topic} is in the frame {message.header.frame_id!r}; the contract says {topic.frame!r}"
        )
    at, turn = message.pose.position, message.pose.orientation
    found = _finite([at.x, at.y, at.z, turn.w, turn.x, turn.y, turn.z], topic)
    if abs((length := float(np.linalg.norm(found[3:]))) - 1) > _UNIT:
        raise RobotFailed(f"the quaternion of {topic.topic} has length {length:.3f}; a rotation has length 1")
    found[3:] /= length
    return found


def picture(message: Image, topic: Topic) -> NDArray[np.uint8]:
    """(height, width, 3) RGB. Raises RobotFailed for another size or encoding than is known."""
    if (message.width, message.height) != topic.size:
        width, height = topic.size
        raise RobotFailed(
            f"{topic.topic} delivers {message.width} × {message.height}; the contract says {width} × {height}"
        )
    if message.encoding not in _ENCODINGS:
        raise RobotFailed(f"{topic.topic} is encoded as {message.encoding!r}; known are {', '.join(_ENCODINGS)}")
    channels, count = _ENCODINGS[message.encoding]
    data, row = np.frombuffer(message.data, np.uint8), message.width * count
    if message.step < row or len(data) < message.height * message.step:
        raise RobotFailed(f"{topic.topic} has {len(data)} bytes in rows of {message.step}, too few for its size")
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :row]
    return np.ascontiguousarray(rows.reshape(message.height, message.width, count)[..., list(channels)])


def positions(target: Vector, topic: Topic) -> list[float]:
    """Of a set-point, ``target_joints`` (n,) or ``target_grip`` (1,): the positions of the contract's joints."""
    if topic.open is not None and topic.closed is not None:
        target = topic.open + target * (topic.closed - topic.open)
    return [float(each) for each in target]


def fill(message: Any, point: Any, topic: Topic, target: Vector, seconds: float) -> Any:
    """``message`` with the set-point, to be reached in ``seconds``. It is new, and so is ``point``, of a trajectory."""
    if topic.type != TRAJECTORY:
        message.data = positions(target, topic)
        return message
    message.joint_names = list(topic.joints)
    point.positions = positions(target, topic)
    point.time_from_start.sec, rest = divmod(round(seconds * 1e9), 10**9)
    point.time_from_start.nanosec = rest
    message.points = [point]
    return message


def _finite(values: Sequence[float], topic: Topic) -> Vector:
    if any(isinstance(value, bool) or not isinstance(value, Real) for value in values):
        raise RobotFailed(f"{topic.topic} says {values!r:.80}, which are no numbers")
    found: Vector = np.array(values, np.float64)
    if not np.isfinite(found).all():
        raise RobotFailed(f"{topic.topic} says {found.tolist()}, which is not finite")
    return found
