"""The next motion of a pick-and-place, decided from the state alone.

The motions of an episode are: over the cube, down, close, lift, across, down, open, up. Which of them is next
follows from where the gripper and the cubes are, so a dropped cube is simply picked up again. All poses are
in the arm base frame: x y z in m, unit quaternion w x y z; the gripper's frame has z out of the fingers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from offboard_client.robots.sim import CUBE_SIZE

Vector = NDArray[np.float64]

FPS = 15.0
#: The longest chunk: 2 s. The shortest is the end of a motion.
MAX_STEPS = 30
MIN_STEPS = 2
#: The fastest that a target moves and turns.
SPEED = 0.4
TURN_SPEED = 1.5
#: What it may be told to move at least: slower, the 2 s of a chunk are only the beginning of a motion, again and again.
SLOWEST = 0.1
#: A motion slows down as soon as it would be over in so many seconds at full speed.
_SLOWING = 0.25
#: It is at full speed after so many steps.
_STARTING = 4
_HOVER = 0.10
_CLEARANCE = 0.05
_CLOSE_TIME = 0.6
_OPEN_TIME = 0.4
#: How near it goes down by: sideways, where the way down leads to the middle all the same, and at its end.
_OVER = 0.012
_NEAR = 0.006
_ALIGNED = math.radians(8)
#: How far it closes for a cube, which keeps the fingers apart before: from 1 on there is nowhere to be off by.
_CLOSED = 0.8
#: How far above a cube's middle it takes it, for the same reason: the table is 2 cm below that.
_ABOVE = 0.01


@dataclass(frozen=True)
class State:
    """``tcp``, ``top``, ``bottom``: poses (7,) of the gripper, the cube to move and the cube to put it on.

    ``grip``: 0 open to 1 closed; on a cube it stops near the middle. ``speed``: the fastest that a target moves, m/s.
    """

    tcp: Vector
    grip: float
    top: Vector
    bottom: Vector
    speed: float = SPEED

    @property
    def stacked(self) -> bool:
        """The cube lies on the other one."""
        offset = self.top[:3] - self.bottom[:3]
        return _flat(offset) < 0.4 * CUBE_SIZE and abs(float(offset[2]) - CUBE_SIZE) < 0.1 * CUBE_SIZE

    @property
    def held(self) -> bool:
        """The fingers are around the cube, and the cube keeps them from closing."""
        return 0.4 < self.grip < 0.7 and float(np.linalg.norm(self.tcp[:3] - self.top[:3])) < CUBE_SIZE / 2


def plan_step(state: State) -> Vector:
    """The next motion, (T, 8) at :data:`FPS`: target pose and grip; T = 0 when the task is done."""
    if state.stacked:
        return _release(state)
    if state.held:
        return _carry(state)
    return _pick(state)


def _release(state: State) -> Vector:
    if state.grip > 0.1:
        return hold(state, 0.0, _OPEN_TIME)
    rise = float(state.top[2]) + _HOVER - float(state.tcp[2])
    return _move(state, _shifted(state.tcp, rise), 0.0) if rise > 0.02 else np.empty((0, 8))


def _carry(state: State) -> Vector:
    # The cube need not sit in the middle of the fingers: what counts is where the cube comes to lie.
    goal = state.bottom[:3] + state.tcp[:3] - state.top[:3]
    goal[2] += CUBE_SIZE
    if _flat(goal - state.tcp[:3]) < _OVER:
        return _move(state, np.concatenate([goal, state.tcp[3:]]), _CLOSED)
    height = float(goal[2]) + _CLEARANCE
    if state.tcp[2] < height - 0.015:
        return _move(state, _shifted(state.tcp, height - float(state.tcp[2])), _CLOSED)
    return _move(state, np.concatenate([goal[:2], [height], _down(_yaw(state.tcp))]), _CLOSED)


def _pick(state: State) -> Vector:
    # A cube looks the same after a quarter turn: take the nearest of the four.
    now = _yaw(state.tcp)
    turn = (_yaw(state.top) - now + math.pi / 4) % (math.pi / 2) - math.pi / 4
    grasp = np.concatenate([state.top[:3], _down(now + turn)])
    grasp[2] += _ABOVE
    offset = state.tcp[:3] - grasp[:3]
    if _flat(offset) < _OVER and _angle(state.tcp[3:], grasp[3:]) < _ALIGNED:
        if abs(float(offset[2])) < _NEAR:
            return hold(state, _CLOSED, _CLOSE_TIME)
        if state.grip > 0.1:
            return hold(state, 0.0, _OPEN_TIME)
        return _move(state, grasp, 0.0)
    if offset[2] < _HOVER - 0.015:
        return _move(state, _shifted(state.tcp, _HOVER - float(offset[2])), 0.0)
    return _move(state, _shifted(grasp, _HOVER), 0.0)


def hold(state: State, grip: float, seconds: float) -> Vector:
    """Standing where the gripper is, (T, 8); no steps of 0 s."""
    return np.tile(np.append(state.tcp, grip), (round(seconds * FPS), 1))


def _move(state: State, goal: Vector, grip: float) -> Vector:
    """A motion from where the gripper is, at most the state's ``speed`` fast.

    How fast it is depends on how far it is from the goal, and not on when it began: so one that is planned anew on the
    way goes on, where a motion that began at rest would be behind it.
    """
    start = state.tcp
    angle = _angle(start[3:], goal[3:])
    # Seconds at full speed: all of them, and what is left of them after each step.
    whole = max(float(np.linalg.norm(goal[:3] - start[:3])) / state.speed, angle / TURN_SPEED)
    left = [whole]
    while len(left) <= MIN_STEPS or (left[-1] > 0 and len(left) <= MAX_STEPS):
        left.append(_left(left[-1], min(len(left) / _STARTING, 1.0) / FPS))
    s = 1 - np.array(left[1:])[:, None] / max(whole, 1e-9)
    rows = np.empty((len(s), 8))
    rows[:, :3] = start[:3] + s * (goal[:3] - start[:3])
    rows[:, 3:7] = _slerp(start[3:], goal[3:], s)
    rows[:, 7] = grip
    return rows


def _left(left: float, seconds: float) -> float:
    """What is left of a motion later, all in seconds: at full speed, and then slowed down evenly to rest."""
    full = min(max(left - _SLOWING, 0.0), seconds)
    rest = math.sqrt(min(left, _SLOWING) / _SLOWING) - (seconds - full) / (2 * _SLOWING)
    return left - full if full == seconds else _SLOWING * max(rest, 0.0) ** 2


def _slerp(start: Vector, end: Vector, s: Vector) -> Vector:
    """From one rotation to another by the shorter way (Shoemake 1985); ``s`` (T, 1) from 0 to 1."""
    end = end if start @ end >= 0 else -end
    half = _angle(start, end) / 2
    if half < 1e-4:
        rows = start + s * (end - start)
    else:
        rows = (np.sin((1 - s) * half) * start + np.sin(s * half) * end) / math.sin(half)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _angle(a: Vector, b: Vector) -> float:
    """Between two rotations, 0 to pi; q and -q are the same rotation."""
    return 2 * math.acos(min(abs(float(a @ b)), 1.0))


def _yaw(pose: Vector) -> float:
    """The direction of a pose's own x axis on the table."""
    w, x, y, z = pose[3:]
    return math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z))


def _down(yaw: float) -> Vector:
    """The gripper pointing straight down: a half turn about x, then ``yaw`` about z."""
    return np.array([0.0, math.cos(yaw / 2), math.sin(yaw / 2), 0.0])


def _shifted(pose: Vector, rise: float) -> Vector:
    return pose + np.array([0, 0, rise, 0, 0, 0, 0])


def _flat(offset: Vector) -> float:
    return math.hypot(float(offset[0]), float(offset[1]))
