"""An arm of LeRobot as a robot: its motors by the protocol's names, and by LeRobot's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeVar, cast

import numpy as np
from offboard_client.errors import ConfigurationError, InvalidAction, RobotFailed
from offboard_client.robots import ControlGrid, Robot, Translation

from .cameras import LiveCameras, are_live
from .config import known_types, make_robot
from .connection import TRIES, Connection, advised
from .motors import Vector, read_units
from .options import ArmOptions
from .spec import MOTORS, TARGETS, arm_spec, camera_shapes

T = TypeVar("T")
#: How far what LeRobot says that it has sent may be from what it was given, in the motors' units: it rounds.
_ROUNDED = 0.5
#: How far apart two readings of an arm that nobody moves may be, and how far beyond its range one, as a share of that.
_AGREE = 0.05
#: What LeRobot's error says → what to do.
_ON_READING = {"Camera": "look at the camera's cable", "": "look at the arm's cable and its power"}


class Arm(Robot):
    """What ``lerobot-teleoperate`` and its like drive, if it is one arm of one bus.

    Its motors are joints and a gripper.

    It measures ``robot_state.q`` in rad and ``grip``, and beside them ``motors``, all motors in LeRobot's unit, as data
    sets have them; and plays ``target_joints`` and ``target_grip``, or ``target_motors``, which means these and is held
    within the same limits. Nothing is sent beyond the calibrated range.
    """

    def __init__(self, device: Any, options: ArmOptions) -> None:
        """``device``: LeRobot's robot. Raises ConfigurationError for one that is no such arm, or not calibrated."""
        self._device = device
        bus = getattr(device, "bus", None)
        if bus is None or not hasattr(bus, "motors"):
            raise ConfigurationError(
                f"{device.name} has no bus of its own whose calibration says what its numbers mean; write a Robot for "
                "it (docs/how-to/own-robot.md)"
            )
        self._bus = bus
        self._units = units = read_units(
            bus, device.calibration, device.calibration_fpath, options.gripper_open, named=device.id is not None
        )
        self._cameras = camera_shapes(device, units)
        self.spec = arm_spec(units, self._cameras, 1 / options.rate)
        meant = ("target_joints", "target_grip") if units.gripper else ("target_joints",)
        self.translations = {TARGETS: Translation(meant, self._meaning)}
        self._stopped = threading.Event()
        self._grid = ControlGrid(self.control_period, self._stopped.wait)
        self._sent: Vector | None = None
        # What the gripper was sent before a stop.
        self._pressed: Vector | None = None
        # The last reading: what whoever checks commands was given.
        self._seen: Vector | None = None
        self._connection = Connection(device)
        # Whether its calibration is to be read before it is played: it was connected, or stopped.
        self._unread = True
        cameras: Mapping[str, Any] = getattr(device, "cameras", {})
        self._live = (
            LiveCameras(cameras, self._cameras)
            if are_live(cameras) and cameras.keys() == self._cameras.keys()
            else None
        )

    @property
    def live_cameras(self) -> LiveCameras | None:
        """See :attr:`Robot.live_cameras`: None for cameras that read only when they are asked."""
        return self._live

    def connect(self) -> None:
        """Open the bus and the cameras; LeRobot switches the torque off and on meanwhile, and asks for no calibration.

        Raises RobotFailed where another program has the port, before anything is sent, and where it fails half-way,
        with the torque off again; ConfigurationError where the motors hold another calibration than the file.
        """
        calibrated = self._connection.open()
        if not calibrated:
            raise ConfigurationError(
                f"the motors hold another calibration than {self._device.calibration_fpath}: it may be another arm's. "
                "Give the --robot.id that it was calibrated with, or calibrate it with lerobot-calibrate"
            )

    def observe(self) -> dict[str, Any]:
        """What LeRobot's robot observes. After a stop it is made sure first that its numbers mean what they did.

        Raises RobotFailed where a motor no longer holds, too: nothing else tells that of an arm that lies limp.
        """
        if self._unread or self._stopped.is_set():
            self._check_calibration()
        if limp := self._asked(self._connection.limp):
            raise RobotFailed(
                f"{', '.join(limp)}: no longer under torque, and nobody here has switched it off. The motors' power "
                "was gone for a moment, or a motor protects itself, or another program did it. Look at the power "
                "supply and its plug, and run it anew"
            )
        seen = self._read(self._device.get_observation)
        measured = self._measured([seen.get(f"{name}.pos") for name in self._units.names])
        if self._stopped.is_set() and self._sent is not None:
            # It goes on from where it is by then; but a gripper that holds something goes on to press it.
            self._sent, self._pressed = None, self._sent[self._units.joints :]
        self._stopped.clear()
        return measured | {f"image.{name}": self._picture(name, seen) for name in self._cameras}

    def state(self) -> dict[str, Any]:
        """The motors only. An arm that was stopped stays so."""
        seen = self._read(lambda: self._bus.sync_read("Present_Position"))
        return self._measured([seen.get(name) for name in self._units.names])

    def apply(self, action: Mapping[str, Any], seconds: float, start: Mapping[str, Any] | None = None) -> None:
        """A set-point each control period, evenly from the last one, or from where the arm is."""
        if self._stopped.is_set():
            return
        checked = self.checked(action)
        if checked and self._sent is None:
            stands = self._standing(None if start is None else start[MOTORS])
            pressed, self._pressed = self._pressed, None
            self._sent = stands if pressed is None else np.concatenate([stands[: self._units.joints], pressed])
        goal, begin = self._goal(checked), self._sent
        periods = round(seconds / self.control_period)
        for period in range(1, periods + 1):
            self._grid.next()
            if self._stopped.is_set():
                return
            if goal is not None and begin is not None:
                self._send(begin + (goal - begin) * (period / periods))
        self._grid.rest()

    def stop(self) -> None:
        """See :meth:`Robot.stop`: the motors hold the last set-point."""
        self._stopped.set()

    def close(self) -> None:
        """Disconnect, which switches the torque off unless ``disable_torque_on_disconnect`` is false.

        Raises RobotFailed where it may be on still.
        """
        self._connection.close()

    # -- inside ----------------------------------------------------------------------------------------
    def _read(self, read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        seen: Any = self._asked(read)
        if not isinstance(seen, Mapping):
            raise RobotFailed(f"the arm's observation is a {type(seen).__name__}; expected a map")
        return cast("Mapping[str, Any]", seen)

    def _check_calibration(self) -> None:
        """The motors keep it, and whoever calibrates the arm anew, or puts in another motor, changes it there."""
        if not self._asked(lambda: self._device.is_calibrated):
            raise RobotFailed(
                "the motors hold another calibration than when the arm was connected, so the same numbers mean "
                "another place. Calibrate it with lerobot-calibrate, and run it anew"
            )
        self._unread = False

    def _asked(self, read: Callable[[], T]) -> T:
        """A bus loses an answer now and then; one that is gone loses them all."""
        left = TRIES
        while True:
            left -= 1
            try:
                return read()
            except (OSError, RuntimeError) as error:
                if not (left and isinstance(error, ConnectionError)):
                    raise RobotFailed(f"the arm cannot be observed: {advised(error, _ON_READING)}") from error

    def _meaning(self, motors: Vector) -> dict[str, Vector]:
        joints, grip = self._units.protocol(motors)
        return {"target_joints": joints} | ({} if grip is None else {"target_grip": grip})

    def _goal(self, action: dict[str, Vector]) -> Vector | None:
        """All motors, where the action says where to; None where it holds."""
        if not action:
            return None
        if (own := action.pop(TARGETS, None)) is not None:
            if action:
                raise InvalidAction(f"{TARGETS} and {', '.join(action)} command the same motors")
            return own
        assert self._sent is not None
        joints, grip = self._units.protocol(self._sent)
        return self._units.motors(action.get("target_joints", joints), action.get("target_grip", grip))

    def _standing(self, seen: Vector | None = None) -> Vector:
        """Where the arm stands, from which set-points begin: a second reading has to agree with what was ``seen``.

        Without ``seen`` that is the last reading. Raises RobotFailed, before anything is sent.
        """
        seen = self._seen if seen is None else seen
        again = cast("Vector", self.state()[MOTORS])
        seen = again if seen is None else seen
        share = _AGREE * (self._units.high - self._units.low)
        wrong = (np.abs(again - seen) > share) | (seen < self._units.low - share) | (seen > self._units.high + share)
        if wrong.any():
            i = int(wrong.argmax())
            raise RobotFailed(
                f"{self._units.names[i]} is said to be at {seen[i]:.4g} and then at {again[i]:.4g}, of a range from "
                f"{self._units.low[i]:.4g} to {self._units.high[i]:.4g}: that is no place to go on from. Let the arm "
                "come to rest; if it does so again, calibrate it with lerobot-calibrate and look at the motor"
            )
        return seen

    def _send(self, motors: Vector) -> None:
        told_motors = {f"{name}.pos": float(value) for name, value in zip(self._units.names, motors, strict=True)}
        sent: Any = self._device.send_action(dict(told_motors))
        self._sent = motors
        if not isinstance(sent, Mapping):
            raise RobotFailed(
                f"LeRobot's robot says that it has sent a {type(sent).__name__}; expected a map of motors"
            )
        for name, value in told_motors.items():
            told_back: Any = cast("Mapping[str, Any]", sent).get(name)
            if not _is_number(told_back) or not abs(float(told_back) - value) <= _ROUNDED:
                raise RobotFailed(f"{name} was to be sent {value:.4g}, and LeRobot's robot has sent {told_back!r:.80}")

    def _measured(self, motors: list[Any]) -> dict[str, Any]:
        if lacking := [name for name, value in zip(self._units.names, motors, strict=True) if value is None]:
            raise RobotFailed(f"the arm's observation has no {', '.join(lacking)}")
        for name, value in zip(self._units.names, motors, strict=True):
            if not _is_number(value):
                raise RobotFailed(f"the arm's observation has {name} at {value!r:.80}; expected a number")
        found: Vector = np.array(motors, np.float64)
        if not np.isfinite(found).all():
            raise RobotFailed(f"the motors are at {found.tolist()}, which is not finite")
        joints, grip = self._units.protocol(found)
        if self._units.gripper and not -100 * _AGREE <= found[-1] <= 100 * (1 + _AGREE):
            raise RobotFailed(
                f"the gripper is said to be at {found[-1]:.4g} of a range from 0 to 100: neither open nor closed. "
                "Calibrate it with lerobot-calibrate, and look at the motor"
            )
        self._seen = found
        # A gripper that is pressed gives way by a hair.
        return {"robot_state.q": joints, MOTORS: found} | ({} if grip is None else {"grip": np.clip(grip, 0, 1)})

    def _picture(self, name: str, seen: Mapping[str, Any]) -> Any:
        picture, expected = np.array(seen.get(name)), self._cameras[name]
        if picture.shape != expected or picture.dtype != np.uint8:
            raise RobotFailed(
                f"the camera {name} delivers {picture.shape} {picture.dtype}; its config says {expected} uint8"
            )
        return picture


def make_arm(options: ArmOptions, kind: str | None) -> Arm:
    """What ``offboard run lerobot:TYPE`` drives. Raises ConfigurationError."""
    if not kind:
        raise ConfigurationError(
            "say which of LeRobot's robots: lerobot:TYPE, as in lerobot:so101_follower; there are: "
            + ", ".join(known_types())
        )
    return Arm(make_robot(kind, options.robot_options), options)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)
