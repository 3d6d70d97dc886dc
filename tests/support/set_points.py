"""Arms whose every set-point is kept, and what of it is held against the limits: measured, by other arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from offboard_client.errors import InvalidAction
from offboard_client.play import SafetyLimits
from planar_arm import HEIGHT, HOME, LINKS, Planar, PlanarArm, Solvable

Array = NDArray[np.float64]
#: What the last digits of a sum may make of a number.
ROUNDING = 1 + 1e-6


@dataclass
class Move:
    """One command as the hardware saw it, and what was measured when its chunk was asked for."""

    action: Mapping[str, Any]
    seconds: float
    #: (n + 1, joints) and (n + 1,): the set-points, from the last one before.
    joints: Array
    grip: Array
    #: The joints that the observation held, for the first command of the arm after it.
    measured: Array | None


@dataclass
class Trace:
    """What an arm has been sent since it was last put somewhere by hand."""

    moves: list[Move] = field(default_factory=list[Move])


class TracedArm(PlanarArm):
    """Is seen where its set-points were ``lag`` periods ago. Without ``solve`` it goes to poses in a straight line."""

    def __init__(self, kinematics: Planar | None, lag: int = 0) -> None:
        super().__init__(kinematics)
        self.lag = lag
        self.traces: list[Trace] = []
        self.reset(0)

    def reset(self, seed: int) -> None:
        self.joints, self.grip = HOME.copy(), 0.0
        self.traces.append(Trace())
        self._seen = [HOME.copy()]
        self._measured: Array | None = None

    @property
    def moves(self) -> list[Move]:
        return self.traces[-1].moves

    def observe(self) -> dict[str, Any]:
        self._measured = self._seen[max(len(self._seen) - 1 - self.lag, 0)].copy()
        seen: dict[str, Any] = {"robot_state.q": self._measured, "grip": self.grip}
        if self.kinematics:
            seen["robot_state.ee_pose"] = Planar().forward(self._measured)
        return seen

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        periods = round(seconds / self.control_period)
        assert periods >= 1
        assert abs(periods * self.control_period - seconds) < 1e-9, "not a whole number of control periods"
        shares = np.linspace(0, 1, periods + 1)[:, None]
        begin, grip = self.joints, float(np.asarray(action.get("target_grip", [self.grip]))[0])
        if "target_pose" in action and not isinstance(self.kinematics, Solvable):
            path = self._straight(np.asarray(action["target_pose"]), shares)
        else:
            path = begin + (self._goal(action) - begin) * shares
        arm = action.keys() - {"target_grip"}
        self.moves.append(
            Move(
                dict(action), seconds, path, np.linspace(self.grip, grip, periods + 1), self._measured if arm else None
            )
        )
        if arm:
            self._measured = None
        self._seen += list(path[1:])
        self.joints, self.grip = path[-1].copy(), grip

    def _goal(self, action: Mapping[str, Any]) -> Array:
        if "target_pose" in action:
            return Solvable().solve(np.asarray(action["target_pose"]), self.joints)
        if "target_joints" in action:
            return np.asarray(action["target_joints"], dtype=np.float64)
        return self.joints + np.asarray(action.get("joint_delta", np.zeros(3)))

    def _straight(self, pose: Array, shares: Array) -> Array:
        x, z, angle = planar(self.joints[None])[0]
        turn = -2 * np.arctan2(pose[5], pose[3]) - angle
        way = np.array([pose[0] - x, pose[2] - z, (turn + np.pi) % (2 * np.pi) - np.pi])
        q, path = self.joints, []
        for at in np.array([x, z, angle]) + way * shares[1:]:
            try:
                q = Solvable().solve(np.array([at[0], 0, at[1], np.cos(at[2] / 2), 0, -np.sin(at[2] / 2), 0]), q)
            except InvalidAction:
                raise InvalidAction("the straight line there leaves the reach") from None
            path.append(q)
        return np.array([self.joints, *path])


def planar(q: Array) -> Array:
    """Joints (n, 3) of :class:`planar_arm.Planar` → x, z and the hand's angle (n, 3)."""
    angles = q.cumsum(axis=1)
    return np.stack([np.cos(angles) @ LINKS, HEIGHT + np.sin(angles) @ LINKS, angles[:, -1]], axis=1)


def planar_tool(q: Array) -> tuple[Array, Array]:
    """Positions (n, 3) and rotations (n, 3, 3)."""
    x, z, angle = planar(q).T
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(len(q)), np.ones(len(q))
    turned = np.array([[cos, zero, -sin], [zero, one, zero], [sin, zero, cos]])
    return np.stack([x, zero, z], axis=1), turned.transpose(2, 0, 1)


Tool = Callable[[Array], tuple[Array, Array]]


def speeds(q: Array, period: float, tool: Tool) -> tuple[Array, Array]:
    """The tool's velocity (n, 3) in m/s and how fast it turns (n,) in rad/s, from each set-point to the next."""
    places, turns = tool(q)
    between = np.einsum("nij,nik->njk", turns[:-1], turns[1:])
    skew = between - between.transpose(0, 2, 1)
    sine = np.sqrt((skew**2).sum(axis=(1, 2)) / 8)
    cosine = (np.trace(between, axis1=1, axis2=2) - 1) / 2
    return np.diff(places, axis=0) / period, np.arctan2(sine, cosine) / period


def held(trace: Trace, limits: SafetyLimits, period: float, tool: Tool | None, *, joints: bool = True) -> None:
    """Asserts that nothing in ``trace`` broke ``limits``. ``tool``: None where nobody knows it.

    ``joints``: whether their speed is held (it is the robot's own where its kinematics do not solve).
    """
    before: Move | None = None
    for move in trace.moves:
        assert np.isfinite(move.joints).all()
        assert np.isfinite(move.grip).all()
        assert ((move.grip >= 0) & (move.grip <= 1)).all()
        if limits.grip_velocity is not None:
            assert np.abs(np.diff(move.grip)).max() / period <= limits.grip_velocity * ROUNDING + 1e-9
        if joints:
            _joints_held(move, before, limits, period)
        if tool is not None:
            _tool_held(move, before, limits, period, tool)
        _near(move, limits, tool)
        before = move


def _joints_held(move: Move, before: Move | None, limits: SafetyLimits, period: float) -> None:
    velocity = np.diff(move.joints, axis=0) / period
    assert (np.abs(velocity) <= np.array(limits.joint_velocity) * ROUNDING + 1e-9).all()
    if limits.joint_acceleration is not None and np.abs(velocity).max() > 1e-9:
        last = np.zeros(velocity.shape[1]) if before is None else np.diff(before.joints, axis=0)[-1] / period
        change = np.abs(velocity[0] - last) / move.seconds
        assert (change <= np.array(limits.joint_acceleration) * ROUNDING + 1e-6).all()


def _tool_held(move: Move, before: Move | None, limits: SafetyLimits, period: float, tool: Tool) -> None:
    velocity, turning = speeds(move.joints, period, tool)
    linear = np.linalg.norm(velocity, axis=1)
    assert linear.max() <= limits.linear_velocity * ROUNDING + 1e-9
    assert turning.max() <= limits.angular_velocity * ROUNDING + 1e-9
    if limits.linear_acceleration is not None and linear.max() > 1e-9:
        last = np.zeros(3) if before is None else speeds(before.joints, period, tool)[0][-1]
        change = np.linalg.norm(velocity[0] - last) / move.seconds
        assert change <= limits.linear_acceleration * ROUNDING + 1e-6
        assert np.linalg.norm(np.diff(velocity, axis=0), axis=1).max(initial=0) / period <= (
            limits.linear_acceleration * ROUNDING + 1e-6
        )
    if limits.workspace_low is not None and move.action.keys() - {"target_grip"}:
        places = tool(move.joints[1:])[0]
        assert (places >= np.array(limits.workspace_low) - 1e-6).all()
        assert (places <= np.array(limits.workspace_high) + 1e-6).all()


def _near(move: Move, limits: SafetyLimits, tool: Tool | None) -> None:
    """The first command after an observation begins near to what that measured."""
    if move.measured is None:
        return
    if "target_pose" not in move.action:
        assert np.abs(move.joints[-1] - move.measured).max() <= limits.joint_offset * ROUNDING
    if tool is not None:
        way, turned = speeds(np.array([move.measured, move.joints[-1]]), 1.0, tool)
        assert np.linalg.norm(way) <= limits.position_offset * ROUNDING
        assert turned[0] <= limits.rotation_offset * ROUNDING
