"""What a robot may be sent: per second, near to what is measured, and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..errors import ConfigurationError, InvalidAction
from ..robots import Vector, distance

#: What is in radians, and can hardly be as many: four turns, or four in a second. Far more is a way to say anything.
_IN_RADIANS = ("joint_low", "joint_high", "joint_velocity", "angular_velocity", "joint_offset", "rotation_offset")
_DEGREES = (8 * math.pi, 3600.0)
_FOR_EACH_JOINT = ("joint_velocity", "joint_acceleration")
#: What to do about it.
_CHECK_POSE = "Check the units, the frame and the quaternion's order (w x y z)"
_CHECK_JOINTS = "Check the unit (radians) and the order of the joints"
_CHECK_RATE = "Check the units (metres, radians) and the rate"
_PLAY_SLOWER = (
    "The policy is that fast, or two of its answers differ where one follows the other: play slower (--speed) or with "
    "another strategy (--chunks)"
)
#: Another unit or rate is mostly off by more than this factor: degrees by 57, 50 Hz for 15 by 3.3.
_CLOSE = 1.5


@dataclass(frozen=True)
class SafetyLimits:
    """How fast commands may move the robot, how far from it they may begin, and where they may lead.

    They are about commands as they are played: each goes from the one before it to its target in a
    straight line, in the time it is played for. The defaults are those of a table-top arm.

    The three offsets are for the first command after each observation, and for joints that are known no better than
    that. A quaternion in another order, degrees for radians, another frame and swapped joints all put it far from where
    the robot is. An arm that lags behind its commands is off by its speed times its delay, plus one step.
    """

    linear_velocity: float = 1.0
    """How fast the end effector may be sent, m/s."""
    angular_velocity: float = 2.5
    """How fast it may be turned, rad/s."""
    joint_velocity: float | tuple[float, ...] = 2.0
    """How fast joints may be sent, rad/s: one number for all, or one for each."""
    grip_velocity: float | None = None
    """How fast the gripper may be sent, in closures (0 to 1) per second; None: it takes its own time."""
    linear_acceleration: float | None = None
    """How much that velocity may change from one command to the next, m/s²; None: by anything. A stop is free."""
    angular_acceleration: float | None = None
    """The same of turning, rad/s²."""
    joint_acceleration: float | tuple[float, ...] | None = None
    """The same of the joints, rad/s²: one number for all, or one for each."""
    position_offset: float = 0.15
    """How far from the measured position the first command may be, m."""
    rotation_offset: float = 0.8
    """How far from the measured rotation, rad."""
    joint_offset: float = 0.5
    """How far from the measured joints, rad."""
    workspace_low: tuple[float, float, float] | None = (-0.85, -0.85, 0.0)
    """The lowest x y z of the end effector, m in the arm base frame; None, with workspace_high: anywhere."""
    workspace_high: tuple[float, float, float] | None = (0.85, 0.85, 1.2)
    """The highest."""
    joint_low: float | tuple[float, ...] | None = None
    """How far joints may be sent, rad: one number for all, or one for each; None, with joint_high: anywhere."""
    joint_high: float | tuple[float, ...] | None = None
    """The other end."""
    grip_low: float = 0.0
    """The least that the gripper may be sent to close, 0 (open) to 1."""
    grip_high: float = 1.0
    """The most."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith(("_low", "_high")) or (value is None and field.default is None):
                continue
            numbers, each = _numbers(value), field.name in _FOR_EACH_JOINT
            # Written so that NaN, which nothing is above, does not switch a check off.
            if not (numbers.size and numbers.ndim <= int(each) and ((numbers > 0) & (numbers < math.inf)).all()):
                raise ConfigurationError(
                    f"the limit {field.name} is {value!r:.80}; expected a number above 0"
                    + (", or one for each joint" if each else "")
                )
        low, high = self.workspace_low, self.workspace_high
        if (low is None) != (high is None):
            raise ConfigurationError("a workspace needs both workspace_low and workspace_high, or neither")
        corners = _numbers([low, high])
        if low is not None and not (corners.shape == (2, 3) and (corners[0] < corners[1]).all()):
            raise ConfigurationError(
                f"the workspace {low!r:.80} … {high!r:.80} m holds no point; "
                "expected x y z, each of workspace_low below that of workspace_high"
            )
        self._check_ranges()
        for name in _IN_RADIANS:
            _check_radians(name, getattr(self, name))

    def _check_ranges(self) -> None:
        low, high = _numbers(self.grip_low), _numbers(self.grip_high)
        if not (low.shape == high.shape == () and 0 <= low < high <= 1):
            raise ConfigurationError(
                f"the gripper's range is {self.grip_low!r:.40} … {self.grip_high!r:.40}; expected grip_low below "
                "grip_high, both from 0 (open) to 1 (closed)"
            )
        if (self.joint_low is None) != (self.joint_high is None):
            raise ConfigurationError("a range of the joints needs both joint_low and joint_high, or neither")
        if self.joint_low is None:
            return
        low, high = np.atleast_1d(_numbers(self.joint_low)), np.atleast_1d(_numbers(self.joint_high))
        fits = low.ndim == high.ndim == 1 and low.size > 0 and (low.size == high.size or 1 in (low.size, high.size))
        if not (fits and np.isfinite([*low, *high]).all() and (low < high).all()):
            raise ConfigurationError(
                f"the range of the joints is {self.joint_low!r:.80} … {self.joint_high!r:.80} rad; expected a number, "
                "or one for each joint, each of joint_low below that of joint_high"
            )

    def check_joint_count(self, count: int) -> None:
        """What is said for each joint is said for ``count`` of them. Raises ConfigurationError."""
        for name in (*_FOR_EACH_JOINT, "joint_low", "joint_high"):
            if (limit := getattr(self, name)) is not None:
                _for_each(limit, count, name)

    # -- one command ---------------------------------------------------------------------------------------
    # ``what``: the command, as a person would call it. All raise InvalidAction that says what it asks for and what
    # is allowed.

    def check_place(self, positions: Vector, what: str) -> None:
        """The end effector stays in the workspace on its way through ``positions`` (n, 3)."""
        low, high = self.workspace_low, self.workspace_high
        if low is None or high is None:
            return
        inside = ((positions >= low) & (positions <= high)).all(axis=1)
        if not inside.all():
            raise InvalidAction(
                f"{what} leads the end effector to {positions[int(inside.argmin())].round(3).tolist()} m, outside the "
                f"workspace {list(low)} … {list(high)} m (arm base frame)"
            )

    def check_pose_offset(self, target: Vector, measured: Vector, what: str) -> None:
        """The first command is near to the measured pose."""
        metres, radians = distance(target, measured)
        if not (metres <= self.position_offset and radians <= self.rotation_offset):
            raise InvalidAction(
                f"{what} is {metres:.3f} m and {math.degrees(radians):.0f} degrees away from the measured pose; "
                f"{self.position_offset:g} m and {math.degrees(self.rotation_offset):.0f} degrees are allowed. "
                + _CHECK_POSE
            )

    def check_joint_offset(self, target: Vector, known: Vector, what: str) -> None:
        """The joints are near to those that were last known."""
        step = np.abs(target - known)
        if len(step) and not (step <= self.joint_offset).all():
            worst = int(step.argmax())
            raise InvalidAction(
                f"{what} puts joint {worst + 1} {step[worst]:.3f} rad away from where it was measured; "
                f"{self.joint_offset:g} rad are allowed. {_CHECK_JOINTS}"
            )

    def check_twists(self, twists: Vector, before: Vector, seconds: float, what: str) -> None:
        """The end effector's velocities (n, 6) in m/s and rad/s, evenly spread over ``seconds``, after ``before``."""
        # From one command to the next counts by the time that this one has, as with the joints; what follows is a path.
        gains = np.diff(twists, axis=0, prepend=before[None]) / (seconds / len(twists))
        gains[0] /= len(twists)
        for name, part, does, unit in (
            ("linear", slice(0, 3), "moves", "m"),
            ("angular", slice(3, 6), "turns", "rad"),
        ):
            speed = float(np.linalg.norm(twists[:, part], axis=1).max())
            allowed: float = getattr(self, f"{name}_velocity")
            if not speed <= allowed * _ROUNDING:
                raise InvalidAction(
                    f"{what} {does} the end effector at {speed:.3g} {unit}/s; {name}_velocity allows {allowed:g}. "
                    + _too_fast(speed / allowed)
                )
            most: float | None = getattr(self, f"{name}_acceleration")
            # A stop is always allowed: it is what a robot does that is sent nothing.
            if most is None or not speed > 0:
                continue
            gain = float(np.linalg.norm(gains[:, part], axis=1).max())
            if not gain <= most * _ROUNDING:
                raise InvalidAction(
                    f"{what} changes the end effector's velocity by {gain:.3g} {unit}/s²; "
                    f"{name}_acceleration allows {most:g}"
                )

    def check_joint_velocity(self, velocity: Vector, before: Vector, seconds: float, what: str) -> None:
        """The joints' velocity (n,) in rad/s, after the velocity ``before``."""
        _each(np.abs(velocity), self.joint_velocity, "joint_velocity", f"{what} moves joint", "rad/s")
        if self.joint_acceleration is not None and velocity.any():
            change = np.abs(velocity - before) / seconds
            _each(change, self.joint_acceleration, "joint_acceleration", f"{what} accelerates joint", "rad/s²")

    def check_joint_range(self, target: Vector, what: str) -> None:
        """The joints (n,) in rad are where they may be."""
        if self.joint_low is None or self.joint_high is None:
            return
        low = _for_each(self.joint_low, len(target), "joint_low")
        high = _for_each(self.joint_high, len(target), "joint_high")
        if (outside := ~((target >= low - _SAME) & (target <= high + _SAME))).any():
            worst = int(outside.argmax())
            raise InvalidAction(
                f"{what} sends joint {worst + 1} to {target[worst]:.4g} rad; "
                f"{low[worst]:g} … {high[worst]:g} rad are allowed"
            )

    def check_grip_range(self, target: float, what: str) -> None:
        """The gripper's closure is one that it may have."""
        if not self.grip_low <= target <= self.grip_high:
            raise InvalidAction(
                f"{what} closes the gripper to {target:.3g}; {self.grip_low:g} … {self.grip_high:g} are allowed"
            )

    def check_grip_velocity(self, velocity: float, what: str) -> None:
        """The gripper's velocity, in closures per second."""
        if self.grip_velocity is not None and not velocity <= self.grip_velocity * _ROUNDING:
            raise InvalidAction(
                f"{what} moves the gripper at {velocity:.3g}/s; grip_velocity allows {self.grip_velocity:g}"
            )


#: A command at the limit itself passes, whatever the last digits of its numbers.
_ROUNDING = 1 + 1e-9
_SAME = 1e-9


def _numbers(value: Any) -> Vector:
    """None at all where something in it is no number."""
    try:
        array = np.array(value)
    except ValueError:
        return np.empty(0)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else np.empty(0)


def _check_radians(name: str, value: Any) -> None:
    if value is None:
        return
    middle = float(np.median(np.abs(_numbers(value))))
    if _DEGREES[0] < middle <= _DEGREES[1]:
        unit = "rad/s" if name.endswith("velocity") else "rad"
        raise ConfigurationError(
            f"the limit {name} is {value!r:.80} {unit}, and that is {math.degrees(middle):.5g} degrees: were degrees "
            f"meant? State it in {unit} ({middle:g} degrees are {math.radians(middle):.3g} {unit})"
            + ("; none is anywhere" if name.startswith(("joint_low", "joint_high")) else "")
        )


def _for_each(limit: float | Sequence[float], count: int, name: str) -> Vector:
    allowed: Vector = np.asarray(limit, dtype=np.float64)
    if allowed.ndim and len(allowed) != count:
        raise ConfigurationError(
            f"{name} states {len(allowed)} joints, the robot has {count}; give one number, or one for each"
        )
    return np.broadcast_to(allowed, (count,))


def _each(values: Vector, limit: float | Sequence[float], name: str, does: str, unit: str) -> None:
    allowed = _for_each(limit, len(values), name)
    if not (values <= allowed * _ROUNDING).all():
        worst = int((values / allowed).argmax())
        raise InvalidAction(
            f"{does} {worst + 1} at {values[worst]:.3g} {unit}; {name} allows {allowed[worst]:g}. "
            + _too_fast(values[worst] / allowed[worst])
        )


def _too_fast(times: float) -> str:
    """What to do about so many times a limit."""
    return _PLAY_SLOWER if times < _CLOSE else _CHECK_RATE
