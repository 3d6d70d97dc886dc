"""Between a chunk and the robot: nothing is played that was not checked as it will be played.

A chunk is laid on the robot's own control periods first (:mod:`.schedule`); then each command that is really played is
compared with the one before it, and the first with what is measured, whatever kinds they are
(:class:`.safety.SafetyLimits`).
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ConfigurationError, InvalidAction
from ..robots import Channel, Kinematics, Robot, Translation, Vector, check_period, vector
from .fit import KNOWN, action_rate, unchecked
from .homing import check_place, way
from .motion import Motion, State, no_range, no_workspace
from .safety import SafetyLimits
from .schedule import Command, hold, schedule

_JOINTS = ("target_joints", "joint_delta")
_ARM = ("target_pose", *_JOINTS)
_NOTHING = State()
#: A command in the numbers that were checked, and where it leads.
_Checked = tuple[Command, State]
#: Seconds after which an arm that is brought somewhere is measured anew.
_MEASURED = 0.5


class Guard:
    """Makes commands of chunks for one robot, and refuses a chunk that asks for more than the limits allow.

    It remembers what was commanded last, so give it every chunk, and :meth:`reset` it with the robot.
    """

    def __init__(
        self, robot: Robot, limits: SafetyLimits, meta: Mapping[str, Any], kinematics: Kinematics | None = None
    ) -> None:
        """``meta``: the session's ``metadata``. ``kinematics``: of a robot that has none of its own.

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
        own = getattr(robot, "kinematics", None)
        if own is not None and kinematics is not None:
            raise ConfigurationError("the robot has kinematics of its own, and others were given; give none")
        self._limits, self._kinematics = limits, kinematics if own is None else own
        self._motion = Motion(limits, self._kinematics, self.control_period)
        declared: Mapping[str, Any] = meta.get("action") or {}
        self._plays = frozenset(robot.actions)
        spec = getattr(robot, "spec", None)
        #: What the robot itself says the bounds of.
        self._bounded: dict[str, Channel] = (
            {} if spec is None else {name: each for name, each in spec.plays.items() if each.is_bounded}
        )
        joints = None if spec is None else spec.measures.get("robot_state.q") or spec.plays.get("target_joints")
        self._joint_count = -1 if joints is None else joints.shape[-1]
        if self._joint_count >= 0:
            limits.check_joint_count(self._joint_count)
        if strange := sorted(declared.keys() - robot.actions):
            raise ConfigurationError(
                f"the server answers {', '.join(strange)}; this robot plays {', '.join(sorted(robot.actions))}. "
                "Serve with a codec that makes these (`offboard codecs` lists them)"
            )
        if strange := sorted(declared.keys() - KNOWN - self._bounded.keys()):
            raise ConfigurationError(unchecked(strange[0]))
        self._translations: Mapping[str, Translation] = getattr(robot, "translations", {})
        self._names = frozenset(declared or robot.actions)
        self._promise = "the handshake announced" if declared else "this robot plays"
        for own, translation in self._translations.items():
            if strange := sorted(set(translation.names) - KNOWN):
                raise ConfigurationError(
                    f"the robot says that {own} means {', '.join(strange)}. {unchecked(strange[0])}"
                )
        meant = (name for own in self._names & self._translations.keys() for name in self._translations[own].names)
        self._check_holdable({*self._names, *meant})
        #: Whether what was checked has to be checked anew once the arm has stood still: it accelerates again.
        self.minds_rest = any(
            each is not None
            for each in (limits.linear_acceleration, limits.angular_acceleration, limits.joint_acceleration)
        )
        self._last = _NOTHING

    def _check_holdable(self, names: Collection[str]) -> None:
        """Raises ConfigurationError where the limits cannot be held for one of ``names``."""
        joints = [name for name in _JOINTS if name in names]
        if joints and self._limits.workspace_low is not None and self._kinematics is None:
            raise ConfigurationError(no_workspace(joints[0]))
        if "target_pose" in names and not hasattr(self._kinematics, "solve"):
            if self._limits.joint_low is not None:
                raise ConfigurationError(no_range())
            if self._limits.joint_acceleration is not None:
                raise ConfigurationError(no_range("the acceleration of the joints", "joint_acceleration"))

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

    def check(
        self, commands: Sequence[Command], measured: Mapping[str, Any], ahead: float = math.inf
    ) -> Iterator[Command]:
        """The same of commands that are laid out already, the first of which is played now.

        ``measured``: what the robot says of itself now, or said in the observation that they were made of. ``ahead``:
        seconds; so much is checked before the first is handed out, and with each that is some more, until all is. So
        what is replaced by then costs little, and what is refused is so long before it would be played.
        """
        checks = self._checks(commands, measured, self._names)
        ready, seconds = list[_Checked](), 0.0
        for checked in checks:
            ready.append(checked)
            seconds += checked[0].seconds
            if seconds >= ahead:
                break
        return self._handed_out(_topped_up(deque(ready), checks))

    def check_place(self, place: Mapping[str, Vector], what: str) -> None:
        """Whether :meth:`bring` may lead to ``place``, which it calls ``what``. Raises ConfigurationError."""
        if strange := sorted(place.keys() - self._plays):
            raise ConfigurationError(
                f"{what} is stated in {', '.join(strange)}; this robot plays {', '.join(sorted(self._plays))}"
            )
        if (q := place.get("target_joints")) is not None and self._joint_count not in (-1, len(q)):
            raise ConfigurationError(f"target_joints of {what} are {len(q)} joints; this robot has {self._joint_count}")
        self._check_holdable(place)
        try:
            check_place(place, self._limits, self._kinematics, what)
        except InvalidAction as error:
            raise ConfigurationError(error.text) from None

    def bring(self, place: Mapping[str, Vector], measure: Callable[[], Mapping[str, Any]]) -> Iterator[Command]:
        """The commands that bring a robot that rests to ``place`` (:func:`.homing.read_place`), where it rests again.

        All are checked before the first is handed out, and each half second those of the next one again, against what
        ``measure`` says then. In the end they are forgotten, as by :meth:`reset`. Raises what :meth:`plan` raises.
        """
        measured = measure()
        last = self._last
        if not (last.pose is not None if "target_pose" in place else last.exact and last.joints is not None):
            self.reset()
        at = self._resumed(self._motion.measure(measured))
        commands = way(place, at, self._limits, self._kinematics, self.control_period)
        list(self._checks(commands, measured, self._plays, "the way there"))
        while commands:
            count = max(round(_MEASURED / commands[0].seconds), 1)
            part, commands = commands[:count], commands[count:]
            yield from self._handed_out(list(self._checks(part, measured, self._plays, "the way there")))
            if commands:
                measured = measure()
        self.reset()

    def _checks(
        self, commands: Sequence[Command], measured: Mapping[str, Any], names: frozenset[str], what: str = "the command"
    ) -> Iterator[_Checked]:
        known = self._motion.measure(measured)
        at, commanded = self._resumed(known), self._last.arm
        fresh = True  # nothing has commanded the arm since the observation
        for command in commands:
            command, at = self._checked(command, at, known if fresh else None, names, what)
            if fresh:
                command = replace(command, start=measured)
            fresh = fresh and not command.action.keys() & set(_ARM)
            # Where the arm is by itself is no command: it may be elsewhere when the next one comes.
            yield command, State(grip=at.grip) if fresh and not commanded else at

    def _handed_out(self, checked: Iterable[_Checked]) -> Iterator[Command]:
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

    def _checked(
        self, command: Command, at: State, measured: State | None, names: frozenset[str], what: str
    ) -> tuple[Command, State]:
        """``command`` in the numbers that were checked, and where it leads from ``at``.

        ``measured``: None if the arm was commanded since.
        """
        action, seconds = dict(command.action), command.seconds
        row = what if command.row is None else f"row {command.row}"
        for name in action:
            if name not in KNOWN and name not in self._bounded:
                raise InvalidAction(f"{row}: {unchecked(name)}")
            if name not in names:
                raise InvalidAction(f"{row} commands {name}; {self._promise} {', '.join(sorted(self._names))}")
        for name in action.keys() & self._bounded.keys():
            values = action[name] = vector(action[name], None, f"{name} of {row}")
            self._bounded[name].check(values, f"{name} of {row}")
        for name in action.keys() & self._translations.keys():
            meant = self._translations[name].meaning(vector(action.pop(name), None, f"{name} of {row}"))
            if set(meant) != set(self._translations[name].names):
                raise ConfigurationError(
                    f"the robot says that {name} means {', '.join(self._translations[name].names)}, and it returned "
                    f"{', '.join(meant)}"
                )
            if twice := action.keys() & meant.keys():
                raise InvalidAction(f"{row}: {name} commands {', '.join(sorted(twice))}, which the row commands, too")
            action.update(meant)
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
            assert at.pose is not None
            action["target_pose"] = at.pose.copy()  # a robot may write into what it is given
        else:
            what = f"{arm[0]} of {row}"
            action[arm[0]] = vector(action[arm[0]], None, what)
            at = self._motion.to_joints(arm[0], action[arm[0]], at, measured, seconds, what)
        return replace(command, action=action), at


def _topped_up(ready: deque[_Checked], checks: Iterator[_Checked]) -> Iterator[_Checked]:
    """Those that are ``ready`` and then the rest, of which two are made for each that is handed out."""
    while ready:
        first = ready.popleft()
        ready.extend(itertools.islice(checks, 2))
        yield first
