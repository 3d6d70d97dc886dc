"""An arm on ROS 2 as a robot: it measures the newest message of each topic, and publishes set-points."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, RobotFailed
from offboard_client.robots import ControlGrid, Robot

from . import messages
from .cameras import LiveCameras
from .contract import IMAGE, MEASURED, POSE, TRAJECTORY, Topic, read_contract
from .messages import Stamp, Vector
from .ros import Publisher, Ros, message_type


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard run ros2``."""

    contract: Path | None = None
    """The file (TOML) that says which topic holds what."""
    topic_wait: float = 10.0
    """Seconds to wait for the first message of each topic."""


class Arm(Robot):
    """Topics in, topics out, by a contract. Between two set-points the arm's own controller holds the last one."""

    def __init__(self, options: Options) -> None:
        """Touches no ROS: whoever only wants to know what the robot is comes this far."""
        if options.contract is None:
            raise ConfigurationError("say by --contract FILE which topic holds what (docs/how-to/ros2.md)")
        self._contract, self._wait = read_contract(options.contract.expanduser()), options.topic_wait
        self.spec = self._contract.spec()
        self._ros: Ros | None = None
        self._publishers: dict[str, tuple[Publisher, Callable[[], Any]]] = {}
        self._news = threading.Condition()
        # Topic → its newest message, when that came, and its stamp, if it has one.
        self._newest: dict[str, tuple[Any, float, Stamp | None]] = {}
        self._taken: dict[str, float] = {}
        # What was measured last.
        self._seen: dict[str, Any] = {}
        self._sent: dict[str, Vector] = {}
        cameras = {name: topic for name, topic in self._contract.observation.items() if topic.type == IMAGE}
        self._cameras = LiveCameras(cameras, self._last) if cameras else None
        self._stopped = threading.Event()
        self._grid = ControlGrid(self.control_period, self._stopped.wait)

    @property
    def taken(self) -> Mapping[str, float]:
        """When the messages of the last observation came: their stamps are of clocks that nobody here knows."""
        return self._taken

    @property
    def live_cameras(self) -> LiveCameras | None:
        """See :attr:`Robot.live_cameras`: whatever comes on the cameras' topics."""
        return self._cameras

    def connect(self) -> None:
        """A node that has heard of every topic. Nothing is published yet."""
        self._ros = ros = Ros("offboard")
        types = {topic.topic: topic.type for topic in self._contract.observation.values()}
        for topic, kind in types.items():
            ros.node.create_subscription(message_type(kind), topic, self._hears(topic), ros.sensor_qos)
        for name, topic in self._contract.action.items():
            made = message_type(topic.type), _point(topic)
            self._publishers[name] = ros.node.create_publisher(made[0], topic.topic, 10), _both(*made)

        def deaf() -> list[str]:
            played = [topic.topic for topic in self._contract.action.values()]
            return [topic for topic in played if not ros.node.count_subscribers(topic)]

        with self._news:
            self._news.wait_for(lambda: types.keys() <= self._newest.keys() and not deaf(), self._wait)
        if silent := sorted(types.keys() - self._newest.keys()):
            said = [f"{topic} ({ros.node.count_publishers(topic)} publish it)" for topic in silent]
            raise RobotFailed(f"nothing came within {self._wait:g} s on {', '.join(said)}; see `ros2 topic list -t`")
        if unheard := deaf():
            raise RobotFailed(f"nobody listens to {', '.join(unheard)}: is the arm's controller active?")

    def observe(self) -> dict[str, Any]:
        """The newest message of each topic."""
        if self._stopped.is_set():
            self._sent.pop("target_joints", None)  # it goes on from where it is; a gripper goes on to hold
        self._stopped.clear()
        seen, self._taken = self._measured(self._contract.observation)
        return seen

    def state(self) -> dict[str, Any]:
        """The same without pictures. An arm that was stopped stays so."""
        return self._measured({n: each for n, each in self._contract.observation.items() if each.type != IMAGE})[0]

    def apply(self, action: Mapping[str, Any], seconds: float, start: Mapping[str, Any] | None = None) -> None:
        """A set-point each control period, from the last one, or from where the arm was when this was checked."""
        if self._stopped.is_set():
            return
        goal = self.checked(action)
        begin = dict(self._sent)
        if goal.keys() - begin.keys():
            # No other reading is taken: it would be sent to the arm, and nobody has checked it.
            checked = start or self._seen or self.state()
            begin = {name: checked[measured] for name, measured in MEASURED.items() if name in goal} | begin
        periods = max(round(seconds / self.control_period), 1)
        for period in range(1, periods + 1):
            self._grid.next()
            if self._stopped.is_set():
                return
            for name, to in goal.items():
                self._publish(name, begin[name] + (to - begin[name]) * (period / periods))
        self._grid.rest()

    def stop(self) -> None:
        """Nothing is published any more: the arm's controller holds the last set-point."""
        self._stopped.set()

    def close(self) -> None:
        """The node is gone; the arm's controller stays."""
        if self._ros is not None:
            self._ros.close()

    # -- inside ----------------------------------------------------------------------------------------
    def _hears(self, topic: str) -> Callable[[Any], None]:
        def hear(message: Any) -> None:
            now, stamp = time.monotonic(), messages.stamp(message)
            with self._news:
                _, at, before = self._newest.get(topic, (None, now, None))
                # One that is sent again says nothing new, however often it comes.
                self._newest[topic] = message, at if stamp is not None and stamp == before else now, stamp
                self._news.notify_all()

        return hear

    def _last(self, topic: str) -> tuple[Any, float] | None:
        """Its newest message, and when that came."""
        with self._news:
            newest = self._newest.get(topic)
        return None if newest is None else newest[:2]

    def _measured(self, wanted: Mapping[str, Topic]) -> tuple[dict[str, Any], dict[str, float]]:
        """What the newest messages say, and when they came. Raises RobotFailed for one that is too old."""
        with self._news:
            newest = {name: self._newest[topic.topic] for name, topic in wanted.items()}
        now = time.monotonic()
        for name, (_, at, _) in newest.items():
            if now - at > self._contract.stale_after:
                raise RobotFailed(
                    f"{wanted[name].topic} has said nothing new for {now - at:.2f} s, and stale_after allows "
                    f"{self._contract.stale_after:g} s; see `ros2 topic hz {wanted[name].topic}`"
                )
        seen = {name: messages.read(_reader(name, topic), newest[name][0], topic) for name, topic in wanted.items()}
        self._seen |= seen
        return seen, {name: at for name, (_, at, _) in newest.items()}

    def _publish(self, name: str, target: Vector) -> None:
        publisher, make = self._publishers[name]
        message, point = make()
        publisher.publish(messages.fill(message, point, self._contract.action[name], target, self.control_period))
        self._sent[name] = target


def _reader(name: str, topic: Topic) -> Callable[[Any, Topic], Any]:
    if name == "grip":
        return messages.grip
    return {IMAGE: messages.picture, POSE: messages.pose}.get(topic.type, messages.joints)


def _point(topic: Topic) -> Callable[[], Any]:
    return message_type("trajectory_msgs/msg/JointTrajectoryPoint") if topic.type == TRAJECTORY else lambda: None


def _both(message: Callable[[], Any], point: Callable[[], Any]) -> Callable[[], tuple[Any, Any]]:
    return lambda: (message(), point())
