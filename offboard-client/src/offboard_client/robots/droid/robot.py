"""DROID's ``RobotEnv`` as a robot: a Franka arm that is sent a joint velocity, or where to, fifteen times a second."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import ConfigurationError, InvalidAction, RobotFailed
from ...wire import convert_pose
from .. import Channel, ControlGrid, OwnThread, Robot, RobotSpec, Vector, closure, vector
from ._droid import import_droid
from .options import DroidOptions

#: Steps per second, and the rad by which a velocity of 1 leads a joint away from where it is measured in one of them.
RATE, STEP = 15, 0.2
_JOINTS = 7
#: What DROID has its cameras deliver.
_PICTURE = (720, 1280, 3)
#: Seconds that DROID has for a call beyond its own time, and to start its controllers and open its cameras.
_PATIENCE, _CONNECTING = 10.0, 120.0
#: How far what DROID says that it has sent may be from what it was given, rad and closures: its numbers are float32.
_ROUNDED = 1e-5
_Q = Channel(shape=(_JOINTS,), unit="rad", order=tuple(f"joint_{i}" for i in range(1, _JOINTS + 1)))
_GRIP = Channel(shape=(1,), unit="0 open to 1 closed")


class DroidRobot(Robot):
    """What DROID's own evaluation drives, with its action space ``joint_velocity`` and its gripper's ``position``.

    It measures ``robot_state.q`` and ``.dq`` (7,), ``robot_state.ee_pose`` (7,) and ``grip`` (1,), and the left
    pictures of the wrist's camera and of one other, RGB (720, 1280, 3). It plays ``joint_delta`` (7,) in rad, up to 0.2
    either way, which is DROID's velocity 1 for a fifteenth of a second; ``target_joints`` (7,) in rad; and
    ``target_grip`` (1,).

    DROID scales down what is faster, and tells nobody: it is refused here, before anything of it is sent. A velocity
    ends with a velocity of 0. Its connection belongs to one thread, so one of this robot's own makes all calls.
    """

    def __init__(self, options: DroidOptions) -> None:
        """Raises ConfigurationError where DROID's package, or what its parameters say of a camera, is not there."""
        parameters, self._make = import_droid()
        serials = {
            "image.wrist": parameters.hand_camera_id,
            "image.exterior": getattr(parameters, f"varied_camera_{options.exterior}_id"),
        }
        if options.exterior != 1 and not serials["image.exterior"]:
            raise ConfigurationError(
                f"--exterior {options.exterior}: varied_camera_{options.exterior}_id in {parameters.__file__} is empty"
            )
        self._cameras = {name: str(serial) for name, serial in serials.items() if serial}
        pictures = {name: Channel(shape=_PICTURE, dtype="uint8", unit="RGB") for name in self._cameras}
        self.spec = RobotSpec(
            measures={
                "robot_state.q": _Q,
                "robot_state.dq": Channel(shape=_Q.shape, unit="rad/s", order=_Q.order),
                "robot_state.ee_pose": Channel(
                    shape=(7,), unit="m, unit quaternion wxyz", frame="the arm's base; of the tip of Polymetis' model"
                ),
                "grip": _GRIP,
                **pictures,
            },
            plays={
                "joint_delta": Channel(
                    shape=_Q.shape, unit=_Q.unit, order=_Q.order, low=(-STEP,) * _JOINTS, high=(STEP,) * _JOINTS
                ),
                "target_joints": _Q,
                "target_grip": _GRIP,
            },
            control_period=1 / RATE,
        )
        self._env: Any = None
        self._call = OwnThread("offboard-droid", _PATIENCE)
        self._stopped = threading.Event()
        self._grid = ControlGrid(self.control_period, self._stopped.wait)
        # What was sent last: whether it was a velocity other than 0; joints, if it was those; the gripper's closure.
        self._moving = False
        self._joints: Vector | None = None
        self._grip: float | None = None

    def connect(self) -> None:
        """DROID starts its controllers and opens its cameras. It is not reset, which would move the arm.

        Raises ConfigurationError where it is no robot of 15 Hz.
        """
        self._env = env = self._call(
            "RobotEnv",
            lambda: self._make(action_space="joint_velocity", gripper_action_space="position", do_reset=False),
            _CONNECTING,
        )
        if env.control_hz != RATE:
            raise ConfigurationError(f"this RobotEnv runs at {env.control_hz} Hz; DROID's velocities belong to {RATE}")

    def observe(self) -> dict[str, Any]:
        """What ``RobotEnv.get_observation`` delivers, its pictures from BGR to RGB."""
        try:
            seen: Mapping[str, Any] = self._call("RobotEnv.get_observation", self._env.get_observation)
        except TypeError as error:
            # DROID unpacks what a camera without a picture answers, which is None.
            raise RobotFailed(
                f"DROID's observation failed ({error}): a camera delivers no picture; look at its cable"
            ) from error
        measured = _measured(seen["robot_state"])
        if self._stopped.is_set():
            self._joints = None  # it goes on from where it is now
        self._stopped.clear()
        return measured | {name: _picture(name, serial, seen) for name, serial in self._cameras.items()}

    def state(self) -> dict[str, Any]:
        """The arm and its gripper. An arm that was stopped stays so."""
        return _measured(self._call("RobotEnv.get_state", self._env.get_state)[0])

    def apply(self, action: Mapping[str, Any], seconds: float, start: Mapping[str, Any] | None = None) -> None:
        """A step each control period: a velocity is the same in all of them, the way to joints is even."""
        if self._stopped.is_set():
            return
        given = self.checked(action)
        if {"joint_delta", "target_joints"} <= given.keys():
            raise InvalidAction("joint_delta and target_joints command the same joints")
        grip = None if "target_grip" not in given else closure(given["target_grip"], "target_grip")
        steps = max(round(seconds * RATE), 1)
        goal, velocity = given.get("target_joints"), given.get("joint_delta")
        velocity = None if velocity is None else velocity / steps / STEP
        lacking = goal is not None and self._joints is None, bool(given) and self._grip is None
        now: Mapping[str, Any] = self._standing(start) if any(lacking) else {}
        begin: Vector | None = now["robot_state.q"] if lacking[0] else self._joints
        held = float(now["grip"][0]) if lacking[1] else self._grip
        for step in range(1, steps + 1):
            self._grid.next()
            joints = None if goal is None or begin is None else begin + (goal - begin) * (step / steps)
            closed = held if grip is None or held is None else held + (grip - held) * (step / steps)
            if not self._call("RobotEnv.step", lambda q=joints, closed=closed: self._step(velocity, q, closed)):
                return
        self._grid.rest()

    def _standing(self, start: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Where the arm is, from which it is sent on: what the limits have seen, and a second reading has to agree.

        Raises RobotFailed, before anything is sent.
        """
        first, again = self.state() if start is None else start, self.state()
        apart = np.abs(again["robot_state.q"] - first["robot_state.q"])
        if (apart > STEP).any():
            i = int(apart.argmax())
            one, other = (f"{state['robot_state.q'][i]:.3f}" for state in (first, again))
            raise RobotFailed(
                f"joint {i + 1} is said to be at {one} and then at {other} rad, farther than it goes in a control "
                "period: look at the arm before it is moved"
            )
        return first

    def stop(self) -> None:
        """See :meth:`Robot.stop`: after a velocity one of 0 is sent, behind the call that is under way."""
        self._stopped.set()
        self._call("RobotEnv.step", self._rest)

    def close(self) -> None:
        """Close the cameras. DROID's controllers stay, and hold the arm where it was sent last."""
        try:
            if self._env is not None:
                self._call("disable_cameras", self._env.camera_reader.disable_cameras)
        finally:
            self._call.end()

    # -- on the thread of the connection -----------------------------------------------------------------
    def _step(self, velocity: Vector | None, joints: Vector | None, grip: float | None) -> bool:
        """False where it was stopped. ``grip``: None where nothing was ever commanded."""
        if self._stopped.is_set():
            return False
        if velocity is None and joints is None:
            if grip is None or grip == self._grip:
                self._rest()
                return True
            joints, velocity = self._joints, np.zeros(_JOINTS)
        if joints is not None:
            self._send_joints(np.append(joints, np.array(grip)))
        elif velocity is not None:
            self._send_velocity(np.append(velocity, np.array(grip)))
        return True

    def _rest(self) -> None:
        if self._moving:
            self._send_velocity(np.append(np.zeros(_JOINTS), np.array(self._grip)))

    def _send_velocity(self, goal: Vector) -> None:
        """Seven velocities and the gripper's closure."""
        # Before it is sent: what fails half-way is followed by 0, too.
        self._moving, self._joints, self._grip = bool(goal[:-1].any()), None, float(goal[-1])
        sent = self._env.step(goal)
        measured = np.array([*sent["robot_state"]["joint_positions"], 0.0], np.float64)
        self._check(sent, measured + goal * ([STEP] * _JOINTS + [1.0]))

    def _send_joints(self, goal: Vector) -> None:
        """Seven joints and the gripper's closure."""
        self._moving, self._joints, self._grip = False, goal[:-1], float(goal[-1])
        sent = self._env.update_robot(goal, action_space="joint_position", gripper_action_space="position")
        self._check(sent, goal)

    def _check(self, sent: Mapping[str, Any], goal: Vector) -> None:
        """What DROID has made of ``goal``, seven joints and the gripper's closure."""
        told: Vector = np.array([*sent["joint_position"], sent["gripper_position"]], np.float64)
        if not (np.abs(told - goal) <= _ROUNDED).all():
            raise RobotFailed(
                f"DROID was to send the joints and the gripper to {np.round(goal, 4).tolist()}, and has sent them to "
                f"{np.round(told, 4).tolist()}: it clips, or its steps are not {STEP} rad"
            )


def make_droid(options: DroidOptions) -> DroidRobot:
    """What ``offboard run droid`` drives. Raises ConfigurationError."""
    return DroidRobot(options)


def _measured(state: Mapping[str, Any]) -> dict[str, Any]:
    try:
        where = vector(state["cartesian_position"], 6, "DROID's cartesian_position")
        return {
            "robot_state.q": vector(state["joint_positions"], _JOINTS, "DROID's joint_positions"),
            "robot_state.dq": vector(state["joint_velocities"], _JOINTS, "DROID's joint_velocities"),
            "robot_state.ee_pose": convert_pose(where, "euler", "quat"),
            "grip": np.array([closure([state["gripper_position"]], "DROID's gripper_position")]),
        }
    except InvalidAction as error:
        raise RobotFailed(error.text) from error


def _picture(name: str, serial: str, seen: Mapping[str, Any]) -> Any:
    pictures: Mapping[str, Any] = seen.get("image", {})
    if (picture := pictures.get(f"{serial}_left")) is None:
        raise RobotFailed(
            f"there is no picture of the camera {serial}, which DROID's parameters have as {name}; there are "
            f"{', '.join(sorted(pictures)) or 'none'}"
        )
    if picture.dtype != np.uint8 or picture.shape not in (_PICTURE, (*_PICTURE[:2], 4)):
        raise RobotFailed(
            f"the camera {serial} ({name}) delivers {picture.shape} {picture.dtype}; expected {_PICTURE} uint8, "
            "or the same with a fourth channel"
        )
    return np.ascontiguousarray(picture[..., 2::-1])
