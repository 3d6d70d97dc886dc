"""What a driver asks of a robot, and of the task that is evaluated on it. The simulated arm implements both."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidAction
from .poses import Vector, vector
from .spec import RobotSpec


class Kinematics(Protocol):
    """Where the end effector is, by the joints. Poses are those of ``robot_state.ee_pose``: same frame, same tool.

    It may also have ``solve(pose, near) -> q``: the joints that the robot goes to for a ``target_pose`` when they are
    ``near`` before, in a straight line of the joints; InvalidAction for a pose out of reach. Then poses are checked for
    reach, and for the speed of the joints, before anything moves. And it may have ``limits`` (n, 2): how far each joint
    goes, from and to, in rad: a home beyond that is refused before anything moves.
    """

    def forward(self, q: Vector) -> Vector:
        """Joints (n,) in rad → pose (7,): x y z in m, unit quaternion w x y z, in the arm's base frame."""
        ...


class Cameras(Protocol):
    """A robot's cameras that take pictures by themselves, whoever looks, and can be looked at while it is played."""

    def frames(self) -> Mapping[str, tuple[NDArray[np.uint8], float]]:
        """Of each camera that has one its newest picture, and when it was taken, ``time.monotonic()`` seconds.

        (H, W, 3) uint8, by its name and as :meth:`Robot.observe` has it; an array that stays as it is. At once, from
        any thread while the robot is connected, as often as anybody likes: no picture is taken from anybody else.
        """
        ...


@dataclass(frozen=True)
class Translation:
    """What an action of the robot's own means by the protocol's names, so that the limits hold for it.

    ``names``: those that ``meaning`` returns, each with its vector in float64, of a vector of its channel's shape.
    """

    names: tuple[str, ...]
    meaning: Callable[[Vector], Mapping[str, Vector]]


class Leader(Protocol):
    """What a person leads a robot with: a second arm, a teleoperator."""

    def action(self) -> Mapping[str, Any]:
        """Where the person wants the robot now, by the robot's action names; {}: to hold still. Returns at once."""
        ...


class Robot(abc.ABC):
    """One robot with its cameras. Making one touches no hardware: what it is can be read before it is connected.

    ``spec``: what it measures and plays, and its control period; the same for all of its life. ``kinematics``: what
    joints mean for the end effector, or None; a workspace for joint commands needs it.

    :meth:`connect` first, :meth:`close` last, and always (:func:`~offboard_client.robots.connected` sees to that); what
    lies between belongs to one thread, but for :meth:`stop` and :attr:`live_cameras`. Raise an OffboardError that says
    what to do; anything else is reported as RobotFailed.
    """

    spec: RobotSpec
    kinematics: Kinematics | None = None
    #: Whether time passes by itself. A simulation's may pass in :meth:`apply` only, and wait for the policy meanwhile.
    realtime: bool = True
    #: What names of its own mean. What is played of them is what they mean, once that was checked.
    translations: Mapping[str, Translation] = MappingProxyType({})
    #: Where a person can take the robot over.
    leader: Leader | None = None

    @property
    def actions(self) -> frozenset[str]:
        """The action names it can play (``target_pose``, ``target_joints`` …)."""
        return frozenset(self.spec.plays)

    @property
    def taken(self) -> Mapping[str, float]:
        """When names of the last observation were measured, ``time.monotonic()`` seconds; at ``observe`` if absent."""
        return {}

    @property
    def live_cameras(self) -> Cameras | None:
        """Where all of its cameras can be looked at while it is played, once it is connected.

        Whoever records the robot then has every picture. None: they are looked at by :meth:`observe` only.
        """
        return None

    @property
    def control_period(self) -> float:
        """Seconds from one set-point that the hardware takes to the next. The robot's own, whatever a server says."""
        return self.spec.control_period

    def checked(self, action: Mapping[str, Any]) -> dict[str, Vector]:
        """``action`` as float64 vectors, copies, as :attr:`spec` says what it plays; for :meth:`apply`.

        Raises InvalidAction for another name, another shape, a number that is not finite or beyond its channel's
        bounds.
        """
        plays = self.spec.plays
        if unknown := action.keys() - plays.keys():
            raise InvalidAction(
                f"this robot cannot play {', '.join(sorted(map(str, unknown)))}; it plays {', '.join(sorted(plays))}"
            )
        sizes = {name: plays[name].shape[0] for name in action}
        found = {name: vector(value, sizes[name] if sizes[name] >= 0 else None, name) for name, value in action.items()}
        for name, values in found.items():
            plays[name].check(values, name)
        return found

    def connect(self) -> None:
        """Open what the robot needs. Moves nothing."""

    @abc.abstractmethod
    def observe(self) -> dict[str, Any]:
        """What is measured now, by canonical names; of ``robot_state.ee_pose`` and ``robot_state.q`` what it has.

        A new map each time, of arrays that stay as they are when the robot moves on.
        """

    def state(self) -> dict[str, Any]:
        """What is measured now, without what takes long (cameras); for the first command of each chunk.

        Where observing takes long, say it here. A robot that was stopped may stay so, or play again as after
        :meth:`observe`.
        """
        return {name: value for name, value in self.observe().items() if not name.startswith("image.")}

    @abc.abstractmethod
    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        """Go to what one row commands, evenly in ``seconds``, a whole number of control periods; then return.

        What ``Guard`` of ``play`` hands out are float64 vectors: a unit quaternion in ``target_pose``, ``target_grip``
        from 0 to 1.
        Evenly: a set-point in each control period, on a straight line from the last command. Limits are about that
        speed, so a robot that jumps there at once breaks them. A name that is absent keeps its last command; so an
        empty action holds still.

        It may take one more argument, ``start=None``, and does so if it reads where the arm is to begin its set-points
        there. ``start`` is what :meth:`observe` or :meth:`state` had said when the command was checked, where nothing
        has commanded the arm since, else None. A reading of its own has been checked by nobody: a single wrong one
        would be sent to the motors.

        Raises InvalidAction, before anything moves, for a name it cannot play, a wrong shape, a number that is not
        finite, a pose out of reach.
        """

    @abc.abstractmethod
    def stop(self) -> None:
        """Hold still from now on, wherever it is. From any thread, at any time while it is connected; may be repeated.

        Return within 5 s: one that does not has failed, and the run is over.

        An :meth:`apply` that is under way returns within a control period, and none plays anything until
        :meth:`observe` is called anew: what was commanded by an older observation is over.
        """

    def close(self) -> None:
        """Let go of everything; the arm stays as it is. Called once, also where :meth:`connect` has failed."""


@runtime_checkable
class Task(Protocol):
    """What is evaluated on a robot: what it is told, where an episode starts, and whether it is done.

    It may also have ``start(seed) -> {name: vector} | None``: where the arm is when an episode starts
    (``target_joints`` or ``target_pose``, ``target_grip``). The driver brings it there within the robot's limits,
    before :meth:`reset`; {}: it stays where it is; None: home, where the limits state one. It may have
    ``over() -> bool``: whether the episode is over before its time, for nothing that is played can change it any more;
    asked after each command. And ``scores() -> {name: number}``: what is measured of an episode beside success, such as
    the sum of rewards; asked when it has ended and was judged. What is no bool (or 0 or 1) there, or no finite number,
    fails the episode: a text and NaN would count as true.
    """

    @property
    def instruction(self) -> str | None:
        """What the policy is told, as ``task`` of each observation; None: nothing."""
        ...

    def reset(self, seed: int) -> None:
        """Bring the scene to where an episode starts. ``seed`` fixes whatever is random about that.

        What moves a real arm here is in nobody's limits: say by ``start`` where it shall be. A simulation may set its
        arm down where it likes.
        A robot that is told to stop meanwhile stays so until it is observed: return then, without doing that.
        """
        ...

    def succeeded(self) -> bool | None:
        """Whether it is done, as far as anybody can tell; None where nobody can."""
        ...
