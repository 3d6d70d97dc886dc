"""What an arm of LeRobot measures and plays, by the protocol's names and by LeRobot's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from offboard_client.errors import ConfigurationError
from offboard_client.robots import Channel, RobotSpec

from .motors import MotorUnits, Vector

#: The vector of the motors in LeRobot's unit, measured and played.
MOTORS, TARGETS = "motors", "target_motors"
_GRIP = "0 open to 1 closed"


def camera_shapes(device: Any, units: MotorUnits) -> dict[str, tuple[int, int, int]]:
    """The cameras' shapes. Raises ConfigurationError for what is neither a camera nor a motor's position."""
    positions = {f"{name}.pos" for name in units.names}
    played = set(device.action_features)
    measured = {name: feature for name, feature in device.observation_features.items() if name not in positions}
    strange = sorted((played ^ positions) | {name for name, each in measured.items() if not _is_shape(each)})
    if strange:
        raise ConfigurationError(
            f"{device.name} has {', '.join(strange)}, and only a motor's position and cameras are known; write a Robot "
            "for it (docs/how-to/own-robot.md)"
        )
    return {name: tuple(shape) for name, shape in measured.items()}


def arm_spec(units: MotorUnits, cameras: Mapping[str, tuple[int, int, int]], period: float) -> RobotSpec:
    """``cameras``: the shapes of their pictures; ``period``: seconds from one set-point to the next."""
    joints, n = units.names[: units.joints], units.joints
    low, high = units.low[:n] * units.scale, units.high[:n] * units.scale
    q = Channel(shape=(n,), unit="rad", order=joints)
    motors = Channel(shape=(len(units.names),), unit=units.unit, order=units.names)
    measures = {"robot_state.q": q, MOTORS: motors}
    plays = {
        "target_joints": _bounded(q, low, high),
        TARGETS: _bounded(motors, units.low, units.high),
    }
    if units.gripper:
        measures["grip"] = plays["target_grip"] = Channel(shape=(1,), unit=_GRIP)
    measures |= {f"image.{name}": Channel(shape=shape, dtype="uint8", unit="RGB") for name, shape in cameras.items()}
    return RobotSpec(measures=measures, plays=plays, control_period=period)


def _is_shape(feature: Any) -> bool:
    return isinstance(feature, (tuple, list)) and len(cast("tuple[Any, ...]", feature)) == 3


def _bounded(channel: Channel, low: Vector, high: Vector) -> Channel:
    return Channel(
        shape=channel.shape, unit=channel.unit, order=channel.order,
        low=tuple(low.tolist()), high=tuple(high.tolist()),
    )  # fmt: skip
