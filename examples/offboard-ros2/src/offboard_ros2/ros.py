"""ROS 2 as far as this robot uses it: one node, which spins on a thread of its own."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any, Protocol, cast

from offboard_client.errors import ConfigurationError, told

#: Seconds for a callback that is under way to come to its end.
_ENDING = 5.0


class Publisher(Protocol):
    """rclpy's."""

    def publish(self, msg: Any) -> None: ...


class Node(Protocol):
    """rclpy's, as far as it is used."""

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[Any], None], qos_profile: Any
    ) -> Any: ...

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any) -> Publisher: ...

    def count_publishers(self, topic_name: str) -> int: ...

    def count_subscribers(self, topic_name: str) -> int: ...

    def destroy_node(self) -> Any: ...


class Ros:
    """A context, a node in it, and the thread on which the node's callbacks run."""

    def __init__(self, name: str) -> None:
        """Raises ConfigurationError where this Python has no ROS 2."""
        rclpy = _imported("rclpy")
        self._rclpy, self._context = rclpy, _imported("rclpy.context").Context()
        # Ctrl-C is offboard's: it holds the arm first, and for that the node has to be there.
        no_handlers = _imported("rclpy.signals").SignalHandlerOptions.NO
        rclpy.init(context=self._context, signal_handler_options=no_handlers)
        self.node = cast("Node", rclpy.create_node(name, context=self._context))
        #: What cameras and sensors publish with; a subscription of this kind hears reliable publishers, too.
        self.sensor_qos: Any = _imported("rclpy.qos").qos_profile_sensor_data
        self._executor = _imported("rclpy.executors").SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, name="offboard-ros2", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No callback runs any more afterwards."""
        self._executor.shutdown()
        self._thread.join(_ENDING)
        self.node.destroy_node()
        self._rclpy.shutdown(context=self._context)


def message_type(name: str) -> Any:
    """The class of ``package/msg/Name``. Raises ConfigurationError where it is not installed."""
    package, _, kind = name.rpartition("/")
    return getattr(_imported(package.replace("/", ".")), kind)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"{name} cannot be imported: {told(error)}. Set ROS 2 up in this shell (source "
            "/opt/ros/DISTRO/setup.bash), and run offboard with the Python that ROS 2 is for"
        ) from error
