"""Between a chunk and the robot: nothing is played that was not checked as it will be played.

A chunk is laid on the robot's own control periods first (:mod:`.schedule`); then each command that is really played is
compared with the one before it, and the first with what is measured, whatever kinds they are
(:class:`.safety.SafetyLimits`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError, InvalidAction
from ..robots import Robot, check_period, vector
from .fit import KNOWN, action_rate, unchecked
from .motion import Motion, State, no_workspace
from .safety import SafetyLimits
from .schedule import Command, hold, schedule

_JOINTS = ("target_joints", "joint_delta")
_ARM = ("target_pose", *_JOINTS)
_NOTHING = State()


class Guard:
    """Makes commands of chunks for one robot, and refuses a chunk that asks for more than the limits allow.

    It remembers what was commanded last, so give it every chunk, and :meth:`reset` it with the robot.
    """

    def __init__(self, robot: Robot, limits: SafetyLimits, meta: Mapping[str, Any]) -> None:
        """``meta``: the session's ``metadata``.

        Raises ConfigurationError for a policy that this robot cannot play or these limits cannot hold.
        """
        actions: Any = robot.actions
        if isinstance(actions, str) or not all(isinstance(name, str) for name in actions):
            raise ConfigurationError(
                f"the robot's actions are {actions!r}; a set was expected, as frozenset({{'target_joints'}})"
            )
        given: Any = limits
        if not isinstance(given, SafetyLimits):
            raise ConfigurationError(f"the limits are a {type(given).__name__}; SafetyLimits(…) was expected")
        #: Seconds of one of the robot's control periods, and of one of the policy's actions.
        self.control_period = check_period(getattr(robot, "control_period", None))
        self.action_period = 1 / action_rate(meta)
        kinematics = getattr(robot, "kinematics", None)
        self._motion = Motion(limits, kinematics, self.control_period)
        declared: Mapping[str, Any] = meta.get("action") or {}
        if strange := sorted(declared.keys() - robot.actions):
            raise ConfigurationError(
                f"the server answers {', '.join(strange)}; this robot plays {', '.join(sorted(robot.actions))}. "
                "Serve with a codec that makes these (`offboard codecs` lists them)"
            )
        if strange := sorted(declared.keys() - KNOWN):
            raise ConfigurationError(unchecked(strange[0]))
        self._names = frozenset(declared or robot.actions)
        self._promise = "the handshake announced" if declared else "this robot plays"
        joints = [name for name in _JOINTS if name in self._names]
        if joints and limits.workspace_low is not None and kinematics is None:
            raise ConfigurationError(no_workspace(joints[0]))
        self._last = _NOTHING

    def reset(self) -> None:
        """Forget the last command: the robot was moved, or an episode starts."""
        self._last = _NOTHING

    def rest(self) -> None:
        """The robot holds still where it was sent last."""
        self._last = replace(self._last, twist=None, joint_velocity=None)

    def plan(
        self, rows: Sequence[Mapping[str, Any]] | None, observation: Mapping[str, Any], left: float = math.inf
    ) -> Iterator[Command]:
        """The commands that play the answer to ``observation``, all checked before the first is handed out.

        One after the other they fill the time from now on. None holds still for one action's time; no rows mean no
        commands. What is handed out counts as commanded; the rest may be dropped. Its numbers are those that were
        checked: float64, quaternions of length 1, a gripper from 0 to 1. ``left``: seconds until the episode ends.
        Raises InvalidAction, and BadObservation where the observation lacks what a command is compared with.
        """
        if rows is None:
            commands = [hold(self.action_period, self.control_period, left)]
        else:
            commands = schedule(rows, self.action_period, self.control_period, left)
        return self.check(commands, observation)

    def check(self, commands: Sequence[Command], measured: Mapping[str, Any]) -> Iterator[Command]:
        """The same of commands that are laid out already, the first of which is played now.

        ``measured``: what the robot says of itself now, or said in the observation that they were made of.
        """
        known = self._motion.measure(measured)
        at = self._resumed(known)
        checked: list[tuple[Command, State]] = []
        fresh = True  # nothing has commanded the arm since the observation
        for command in commands:
            command, at = self._checked(command, at, known if fresh else None)
            fresh = fresh and not command.action.keys() & set(_ARM)
            # Where the arm is by itself is no command: it may be elsewhere when the next one comes.
            checked.append((command, State(grip=at.grip) if fresh and not self._last.arm else at))
        return self._handed_out(checked)

    def _handed_out(self, checked: list[tuple[Command, State]]) -> Iterator[Command]:
        for command, after in checked:
            self._last = after
            yield command

    def _resumed(self, measured: State) -> State:
        """The last command, completed by what is measured where it left something open."""
        last = self._last
        grip = measured.grip if last.grip is None else last.grip
        if not last.arm:
            return replace(measured, grip=grip)
        known = last.exact and last.joints is not None
        return replace(last, joints=last.joints if known else measured.joints, grip=grip)

    def _checked(self, command: Command, at: State, measured: State | None) -> tuple[Command, State]:
        """``command`` in the numbers that were checked, and where it leads from ``at``.

        ``measured``: None if the arm was commanded since.
        """
        action, row, seconds = dict(command.action), f"row {command.row}", command.seconds
        for name in action:
            if name not in KNOWN:
                raise InvalidAction(f"{row}: {unchecked(name)}")
            if name not in self._names:
                raise InvalidAction(f"{row} commands {name}; {self._promise} {', '.join(sorted(self._names))}")
        if "target_grip" in action:
            at = self._motion.grip(action["target_grip"], at, seconds, f"target_grip of {row}")
            action["target_grip"] = np.array([at.grip])
        arm = [name for name in _ARM if name in action]
        if len(arm) > 1:
            raise InvalidAction(f"{row}: {' and '.join(arm)} both command the arm; a row may hold one of them")
        if not arm:
            at = replace(at, twist=None, joint_velocity=None)
        elif arm == ["target_pose"]:
            at = self._motion.to_pose(action["target_pose"], at, measured, seconds, f"target_pose of {row}")
            action["target_pose"] = at.pose
        else:
            what = f"{arm[0]} of {row}"
            action[arm[0]] = vector(action[arm[0]], None, what)
            at = self._motion.to_joints(arm[0], action[arm[0]], at, measured, seconds, what)
        return replace(command, action=action), at
