"""Between the units of LeRobot's motors, which a calibration gives them, and the protocol's radians and closures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from offboard_client.errors import ConfigurationError

Vector = NDArray[np.float64]
Units = Literal["degrees", "range"]
#: LeRobot's ``MotorNormMode`` by value, of a motor that is a joint.
_JOINTS: Mapping[str, Units] = {"degrees": "degrees", "range_m100_100": "range"}
_GRIPPER = "range_0_100"


@dataclass(frozen=True)
class MotorUnits:
    """How the numbers of an arm's motors are to be read. All vectors are in the order of ``names``, joints first.

    ``names``: the joints' motors, and last the gripper's, if ``gripper``. ``units``: the joints'. ``scale`` (joints,):
    rad per unit. ``low`` and ``high`` (names,): how far each goes, in its unit. ``open_at``: where the gripper is open,
    0 or 100.
    """

    names: tuple[str, ...]
    gripper: bool
    units: Units
    scale: Vector
    low: Vector
    high: Vector
    open_at: float

    @property
    def joints(self) -> int:
        """How many of the motors are joints."""
        return len(self.scale)

    @property
    def unit(self) -> str:
        """What the motors' numbers are, for a person and for the check."""
        said = "degrees" if self.units == "degrees" else "-100 to 100 of each motor's range"
        return f"{said}; the gripper 0 to 100" if self.gripper else said

    def protocol(self, motors: Vector) -> tuple[Vector, Vector | None]:
        """Joints (n,) in rad and the gripper's closure (1,), 0 open to 1 closed; None without a gripper."""
        grip = np.abs(motors[-1:] - self.open_at) / 100 if self.gripper else None
        return motors[: self.joints] * self.scale, grip

    def motors(self, joints: Vector, grip: Vector | None) -> Vector:
        """The same the other way. ``grip`` is there if a gripper is."""
        found = joints / self.scale
        if grip is None:
            return found
        return np.concatenate([found, self.open_at + (100 - 2 * self.open_at) * grip])


def read_units(bus: Any, calibration: Mapping[str, Any], file: Path, open_at: float, named: bool = True) -> MotorUnits:
    """The units of the motors of a LeRobot bus. ``calibration``: by their names, of ``file``; ``named``: by an id.

    Raises ConfigurationError where the calibration is not that of the motors, or their units are none of an arm's.
    """
    if not calibration:
        there = _said(sorted(each.stem for each in file.parent.glob("*.json"))[:20])
        why = f"there is no calibration at {file}" if named else "no --robot.id says which calibration is this arm's"
        raise ConfigurationError(
            f"{why}, and without one nobody knows what the motors' numbers mean; "
            + (f"{file.parent} has those of --robot.id {there}. Give one of them, or make" if there else "make")
            + " it with lerobot-calibrate, with the same --robot.type and "
            + ("--robot.id" if named else "a --robot.id, and give that here")
        )
    if set(calibration) != set(bus.motors):
        raise ConfigurationError(
            f"the calibration {file} is of the motors {_said(calibration)}; this arm has {_said(bus.motors)}"
        )
    modes = {name: str(motor.norm_mode.value) for name, motor in bus.motors.items()}
    for name, mode in modes.items():
        if mode != _GRIPPER and mode not in _JOINTS:
            raise ConfigurationError(f"the motor {name} counts in {mode}, which is no unit of a joint or a gripper")
        each = calibration[name]
        if not each.range_min < each.range_max:
            raise ConfigurationError(
                f"the calibration {file} has the motor {name} go from {each.range_min} to {each.range_max}, nowhere; "
                "calibrate it anew"
            )
        turn: int = bus.model_resolution_table[bus.motors[name].model]
        if each.range_max - each.range_min > turn:
            raise ConfigurationError(
                f"the calibration {file} has the motor {name} go from {each.range_min} to {each.range_max}, and a turn "
                f"of it has {turn}; calibrate it anew"
            )
        if each.id != bus.motors[name].id:
            raise ConfigurationError(
                f"the calibration {file} is of a motor {name} with the id {each.id}; this arm's has "
                f"{bus.motors[name].id}"
            )
    grippers = [name for name, mode in modes.items() if mode == _GRIPPER]
    if len(grippers) > 1 or grippers not in ([], ["gripper"]):
        raise ConfigurationError(f"{_said(grippers)} count from 0 to 100; an arm has one such motor, called gripper")
    joints = [name for name in bus.motors if name not in grippers]
    units: set[Units] = {_JOINTS[modes[name]] for name in joints}
    if len(units) != 1:
        raise ConfigurationError(f"the joints count in {' and '.join(sorted(units)) or 'nothing'}; expected one unit")
    turns = [_radians(bus, calibration[name], name) for name in joints]
    in_degrees = units == {"degrees"}
    half = np.array([math.degrees(turn) / 2 if in_degrees else 100.0 for turn in turns])
    scale = np.array([math.radians(1) if in_degrees else turn / 200 for turn in turns])
    low, high = (np.append(each, end) if grippers else each for each, end in ((-half, 0.0), (half, 100.0)))
    return MotorUnits((*joints, *grippers), bool(grippers), units.pop(), scale, low, high, open_at)


def _radians(bus: Any, calibration: Any, name: str) -> float:
    """How far the motor goes in all."""
    resolution: int = bus.model_resolution_table[bus.motors[name].model] - 1
    return (calibration.range_max - calibration.range_min) * 2 * math.pi / resolution


def _said(names: Mapping[str, Any] | Sequence[str]) -> str:
    return ", ".join(names)
