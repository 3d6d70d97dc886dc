"""The way from where an arm rests to a place that somebody has stated: its home, or its safe action."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import BadObservation, ConfigurationError, InvalidAction, unknown
from ..robots import Kinematics, Vector, closure, mean_pose, pose, poses, twists, vector
from .motion import State
from .safety import SafetyLimits
from .schedule import Command

#: What a place may hold: what is the same wherever the arm is.
PLACES = ("target_joints", "target_pose", "target_grip")
_ARM = PLACES[:2]
#: Seconds of one command of the way, about.
_STEP = 0.05
#: Seconds that a gripper has whose speed nobody limits.
_GRIPPING = 0.5
#: The speed and the acceleration of a smooth start and stop (10 s³ - 15 s⁴ + 6 s⁵) at their highest, for the way and
#: the time 1; and by how much longer the way takes than these say, for what lies between the points it is measured at.
_SPEED, _ACCELERATION, _SLOWER = 1.875, 10 / math.sqrt(3), 1.1
#: Between two points at which a way is measured no joint moves farther, rad, and the end effector not, m.
_FINE = 0.02
#: Seconds of a way: nobody waits longer for an arm, and all of it is checked before it moves.
_LONGEST = 600.0
#: Nearer is there, rad and m.
_THERE = 1e-6


def read_place(given: Mapping[str, Any], what: str) -> dict[str, Vector]:
    """``given`` as a place, in float64: of the arm at most one of ``target_joints`` and ``target_pose``.

    Raises ConfigurationError for what is none.
    """
    for name in given:
        if name == "joint_delta":
            raise ConfigurationError(f"{what} holds joint_delta, which is no place; say target_joints or target_pose")
        if name not in PLACES:
            raise ConfigurationError(f"{what}: {unknown('name', str(name), PLACES)}")
    if len(given.keys() & set(_ARM)) > 1:
        raise ConfigurationError(f"{what} holds target_joints and target_pose, which both command the arm; state one")
    try:
        return {name: _READ[name](value, f"{name} of {what}") for name, value in given.items()}
    except InvalidAction as error:
        raise ConfigurationError(error.text) from None


def check_reach(place: Mapping[str, Vector], kinematics: Kinematics | None, what: str) -> None:
    """Whether the arm's own joints go as far as ``place``, as far as its kinematics say. Raises InvalidAction."""
    q, reach = place.get("target_joints"), getattr(kinematics, "limits", None)
    if q is None or reach is None or len(reach) != len(q):
        return
    low, high = np.asarray(reach, np.float64).T
    if (outside := (q < low - _THERE) | (q > high + _THERE)).any():
        worst = int(outside.argmax())
        raise InvalidAction(
            f"target_joints of {what} sends joint {worst + 1} to {q[worst]:.4g} rad; this arm's goes from "
            f"{low[worst]:.4g} to {high[worst]:.4g} rad"
        )


def check_place(place: Mapping[str, Vector], limits: SafetyLimits, kinematics: Kinematics | None, what: str) -> None:
    """Whether the robot may be where ``place`` is. Raises InvalidAction."""
    if (q := place.get("target_joints")) is not None:
        limits.check_joint_range(q, f"target_joints of {what}")
    check_reach(place, kinematics, what)
    at = place.get("target_pose")
    if q is not None and kinematics is not None:
        at = pose(kinematics.forward(q), f"where target_joints of {what} lead")
    if at is not None:
        limits.check_place(at[None, :3], what)
    if (grip := place.get("target_grip")) is not None:
        limits.check_grip_range(float(grip[0]), f"target_grip of {what}")


def way(
    place: Mapping[str, Vector], at: State, limits: SafetyLimits, kinematics: Kinematics | None, control_period: float
) -> list[Command]:
    """The commands from ``at``, where the arm rests, to ``place``, where it rests again: the arm's, then the gripper's.

    The joints, or the end effector, go there on a straight line, as fast as ``limits`` allow. Raises BadObservation
    where it is not known where the arm is, and InvalidAction for a pose out of reach.
    """
    step = max(round(_STEP / control_period), 1) * control_period
    arm = _arm(place, at, limits, kinematics, step)
    if (grip := place.get("target_grip")) is None:
        return arm
    seconds = _GRIPPING
    if limits.grip_velocity is not None and at.grip is not None:
        seconds = abs(float(grip[0]) - at.grip) / limits.grip_velocity
    periods = max(math.ceil(seconds / control_period - 1e-9), 1)
    return [*arm, Command({"target_grip": grip}, periods * control_period)]


def _arm(
    place: Mapping[str, Vector], at: State, limits: SafetyLimits, kinematics: Kinematics | None, step: float
) -> list[Command]:
    name = next((name for name in _ARM if name in place), None)
    if name is None:
        return []
    goal = place[name]
    begin = at.joints if name == "target_joints" else at.pose
    if begin is None:
        lacking = "robot_state.q" if name == "target_joints" else "robot_state.ee_pose"
        raise BadObservation(f"the observation lacks {lacking}, where the way to {name} begins; observe it")
    if begin.shape != goal.shape:
        raise InvalidAction(f"{name} leads to {len(goal)} joints; this robot has {len(begin)}")

    def between(share: float) -> Vector:
        if name == "target_pose":
            return mean_pose(np.array([begin, goal]), np.array([1 - share, share]))
        return begin + (goal - begin) * share

    if np.abs(between(1.0) - begin).max() < _THERE:
        return []
    points = [between(share) for share in np.linspace(0.0, 1.0, _fineness(begin, goal) + 1)]
    q, path = _both(name, points, at, kinematics)
    seconds = _SLOWER * _seconds(q, path, limits)
    if not seconds <= _LONGEST:
        raise InvalidAction(
            f"within the limits the way to {name} takes {seconds:.3g} s, and {_LONGEST:g} s are the most: is one "
            "of their velocities or accelerations in another unit?"
        )
    count = max(math.ceil(seconds / step), 1)
    shares = [i / count for i in range(1, count)]
    smooth = [between(s**3 * (10 - 15 * s + 6 * s * s)) for s in shares]
    return [Command({name: point}, step) for point in (*smooth, goal)]


def _fineness(begin: Vector, goal: Vector) -> int:
    """A quaternion's numbers change by half the angle at most."""
    return max(math.ceil(float(np.abs(goal - begin).max()) / _FINE), 8)


def _both(
    name: str, points: list[Vector], at: State, kinematics: Kinematics | None
) -> tuple[Vector | None, Vector | None]:
    """The joints (n, k) and the poses (n, 7) of the way, as far as they are known."""
    if name == "target_joints":
        forward = None if kinematics is None else [kinematics.forward(q) for q in points]
        return np.array(points), None if forward is None else poses(forward, "what kinematics.forward(q) returns")
    solve = getattr(kinematics, "solve", None)
    if solve is None or at.joints is None:
        return None, np.array(points)
    q = [at.joints]
    for point in points[1:]:
        q.append(vector(solve(point, q[-1]), len(at.joints), "what the kinematics' solve returns"))
    return np.array(q), np.array(points)


def _seconds(q: Vector | None, path: Vector | None, limits: SafetyLimits) -> float:
    """How long the way takes where nothing on it is faster than it may be."""
    needed = [0.0]

    def holds(rates: Vector, bends: Vector, velocity: Any, acceleration: Any) -> None:
        """Per share of the way: ``rates`` (n, k) of change, ``bends`` (n - 1, k) of those."""
        rate, bend = rates.max(axis=0), bends.max(axis=0)
        needed.append(float((rate * _SPEED / np.asarray(velocity)).max()))
        if acceleration is not None:
            gain = (bend * _SPEED**2 + rate * _ACCELERATION) / np.asarray(acceleration)
            needed.append(math.sqrt(float(gain.max())))

    if q is not None:
        rates = np.diff(q, axis=0) * (len(q) - 1)
        bends = np.diff(rates, axis=0) * (len(q) - 1)
        holds(np.abs(rates), np.abs(bends), limits.joint_velocity, limits.joint_acceleration)
    if path is not None:
        rates = twists(path, 1 / (len(path) - 1))
        bends = np.diff(rates, axis=0) * (len(path) - 1)
        for part, velocity, acceleration in (
            (slice(0, 3), limits.linear_velocity, limits.linear_acceleration),
            (slice(3, 6), limits.angular_velocity, limits.angular_acceleration),
        ):
            norms = [np.linalg.norm(each[:, part], axis=1, keepdims=True) for each in (rates, bends)]
            holds(norms[0], norms[1], velocity, acceleration)
    return max(needed)


def _joints(value: Any, name: str) -> Vector:
    return vector(value, None, name)


def _grip(value: Any, name: str) -> Vector:
    return np.array([closure(value, name)])


_READ: dict[str, Callable[[Any, str], Vector]] = {"target_joints": _joints, "target_pose": pose, "target_grip": _grip}
