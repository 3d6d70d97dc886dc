"""ROS 2 as far as ``examples/offboard-ros2`` uses it: topics within this process, and an arm that lives on them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

JOINTS = ("shoulder", "elbow", "finger")
#: Seconds between two messages of the arm, whether it was commanded or not.
_EVERY = 0.02
#: The newest last.
nodes: list[Node] = []


class Message(SimpleNamespace):
    """Any message: its fields are whatever is written."""


class JointTrajectoryPoint(Message):
    def __init__(self) -> None:
        super().__init__(time_from_start=Message())


class Node:
    """With the arm behind its topics. ``told``: what was published. ``missing``: topics that nobody publishes."""

    missing: tuple[str, ...] = ()
    deaf = False
    encoding = "bgr8"

    def __init__(self) -> None:
        self.at = dict.fromkeys(JOINTS, 0.1)
        self.told: list[tuple[str, Any]] = []
        self.heard: dict[str, Callable[[Any], None]] = {}
        self.destroyed = False
        nodes.append(self)

    def create_subscription(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any) -> None:
        assert qos == "sensor data"
        self.heard[topic] = callback

    def create_publisher(self, kind: Any, topic: str, qos: int) -> Any:
        def publish(message: Any) -> None:
            assert type(message) is kind
            self.told.append((topic, message))
            joints = {"/arm": JOINTS[:2], "/gripper": JOINTS[2:]}[topic]
            given = message.points[0].positions if topic == "/arm" else message.data
            self.at.update(zip(joints, given, strict=True))
            self.say()

        return SimpleNamespace(publish=publish)

    def count_publishers(self, topic: str) -> int:
        return 0

    def count_subscribers(self, topic: str) -> int:
        return 0 if self.deaf else 1

    def destroy_node(self) -> None:
        self.destroyed = True

    def say(self) -> None:
        """One message on each topic."""
        names = (*reversed(JOINTS), "another")  # as joint_state_broadcaster sends them: in no order of the arm's
        positions = [self.at.get(name, 0.0) for name in names]
        said = {
            "/joint_states": Message(name=list(names), position=positions),
            "/tool": Message(
                header=Message(frame_id="base"),
                pose=Message(position=Message(x=0.4, y=0.0, z=0.3), orientation=Message(x=0.0, y=0.0, z=0.6, w=0.8)),
            ),
            "/camera": picture(self.encoding),
        }
        for topic, callback in self.heard.items():
            if topic not in self.missing:
                callback(said[topic])


def picture(encoding: str = "bgr8", width: int = 6, height: int = 4, padding: int = 2) -> Message:
    """Red 10, green 20, blue 30; rows that end in bytes of no pixel."""
    pixel = {"rgb8": (10, 20, 30), "bgr8": (30, 20, 10), "rgba8": (10, 20, 30, 255), "bgra8": (30, 20, 10, 255)}
    row = [*pixel.get(encoding, (0,)) * width, *[99] * padding]
    return Message(
        height=height, width=width, encoding=encoding, step=len(row), data=bytes(np.array(row * height, np.uint8))
    )


class Executor:
    def __init__(self, context: Any) -> None:
        self._ended = threading.Event()

    def add_node(self, node: Node) -> None:
        self._node = node

    def spin(self) -> None:
        while not self._ended.wait(_EVERY):
            self._node.say()

    def shutdown(self) -> None:
        self._ended.set()


def install(patch: pytest.MonkeyPatch) -> None:
    """As a shell in which ROS 2 is set up has it."""
    modules: dict[str, dict[str, Any]] = {
        "rclpy": {
            "init": lambda context, signal_handler_options: None,
            "shutdown": lambda context: None,
            "create_node": lambda name, context: Node(),
        },
        "rclpy.context": {"Context": object},
        "rclpy.signals": {"SignalHandlerOptions": SimpleNamespace(NO="no")},
        "rclpy.qos": {"qos_profile_sensor_data": "sensor data"},
        "rclpy.executors": {"SingleThreadedExecutor": Executor},
        "sensor_msgs.msg": {"JointState": Message, "Image": Message},
        "geometry_msgs.msg": {"PoseStamped": Message},
        "std_msgs.msg": {"Float64MultiArray": Message},
        "trajectory_msgs.msg": {"JointTrajectory": Message, "JointTrajectoryPoint": JointTrajectoryPoint},
    }
    for name, held in modules.items():
        for package in (name.partition(".")[0], name):
            if package not in sys.modules or package == name:
                patch.setitem(sys.modules, package, ModuleType(package))
        sys.modules[name].__dict__.update(held)
