"""The simulated robot: canonical observations out, canonical actions in, physics in between."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any

import numpy as np

from ...errors import InvalidAction, RobotFailed
from .. import ControlGrid, Robot, Vector, closure, pose, vector
from ._mujoco import Data, Model, mj
from .cameras import GLRenderer, RayRenderer, Renderer
from .kinematics import Kinematics, site_pose
from .live_cameras import LiveCameras
from .names import ARM_ACTIONS, JOINTS, live, seen
from .options import ClockName, RendererName, SimOptions
from .pushes import Pushes
from .scene import CAMERAS, CUBES, FINGER_TRAVEL, HOME, JOINT_SPEEDS, mjcf
from .starts import places
from .tasks import CUBE_SIZE

#: Seconds in which whatever moves in a scene that nobody touches has come to rest.
_SETTLED = 2.0
#: Seconds without anybody's attention after which what the cameras have is of before.
_IDLE = 0.5


class SimRobot(Robot):
    """A 7-joint arm with a gripper, a table and three cubes, in MuJoCo.

    Besides the robot's own state it observes ``sim.objects.<name>`` (7,), the poses of the cubes, in the same
    frame as ``robot_state.ee_pose``.

    Where its clock is ``lockstep``, time passes in :meth:`apply` only: the simulation waits for the policy, and for its
    cameras. Where it is ``real`` it goes on at wall speed: :meth:`apply` lays set-points on a grid of control periods
    (:attr:`grid`), what happens between two calls is simulated in the next one, and the cameras have their own thread.
    """

    def __init__(
        self,
        renderer: RendererName = "rays",
        clock: ClockName = "lockstep",
        camera_rate: float = 10.0,
        image_size: int = 224,
        spread: float = 1.0,
        pushes: float = 0.0,
    ) -> None:
        """``camera_rate``: Hz, of a ``real`` clock; less where rendering takes longer. See :class:`SimOptions`."""
        self.realtime = clock == "real"
        self.spec = live(seen(image_size), camera_rate) if self.realtime else seen(image_size)
        self._spread, self._push_size = spread, pushes
        self._model: Model = mj.MjModel.from_xml_string(mjcf())
        self._data: Data = mj.MjData(self._model)
        self.kinematics = self._kinematics = Kinematics(self._model, list(JOINTS), rest=np.array(HOME))
        make = GLRenderer if renderer == "gl" else RayRenderer
        self._make_renderer = functools.partial(make, width=image_size, height=image_size)
        self._renderer: Renderer | None = None
        self._camera_rate = camera_rate
        self._cameras: LiveCameras | None = None
        self._taken: dict[str, float] = {}
        self._tcp = int(self._model.site("tcp").id)
        self._due = 0.0
        self._stopped = threading.Event()
        #: When its set-points are due, and were sent; None where the simulation waits.
        self.grid = ControlGrid(self.spec.control_period, self._stopped.wait) if self.realtime else None
        self._per_period = round(self.spec.control_period / float(self._model.opt.timestep))
        # Pictures from before this are of another scene.
        self._since = 0.0
        self.reset(0)

    def connect(self) -> None:
        """Open the cameras. Raises ConfigurationError where there is no OpenGL and that was asked for."""
        if self.realtime:
            self._cameras = LiveCameras(self._model, self._make_renderer, self._camera_rate)
        else:
            self._renderer = self._make_renderer(self._model)

    @property
    def taken(self) -> Mapping[str, float]:
        """See :attr:`Robot.taken`; of a ``real`` clock."""
        return self._taken

    @property
    def live_cameras(self) -> LiveCameras | None:
        """See :attr:`Robot.live_cameras`; of a ``real`` clock."""
        return self._cameras

    @property
    def time(self) -> float:
        """Simulated seconds since the last reset."""
        return float(self._data.time)

    def reset(self, seed: int) -> None:
        """The arm near its home posture, the gripper open, the cubes at random places on the table."""
        rng = np.random.default_rng(seed)
        mj.mj_resetData(self._model, self._data)
        data = self._data
        data.qpos[:7] = np.array(HOME) + rng.uniform(-0.02, 0.02, 7)
        data.qpos[7:9] = FINGER_TRAVEL
        data.ctrl[:7], data.ctrl[7] = data.qpos[:7], FINGER_TRAVEL
        self._pushes = Pushes(7, self._push_size, seed)
        for name, place in zip(CUBES, places(rng, self._spread), strict=True):
            turn = rng.uniform(-np.pi, np.pi) / 2 * self._spread
            data.joint(name).qpos[:] = (*place, CUBE_SIZE / 2, np.cos(turn), 0, 0, np.sin(turn))
        self._due = 0.0
        mj.mj_forward(self._model, data)
        if self.grid is not None:
            self.grid.anew()
            self._since = monotonic()

    def observe(self) -> dict[str, Any]:
        """The canonical observation, with both cameras rendered now; with a ``real`` clock their newest pictures."""
        if self._renderer is None and self._cameras is None:
            raise RobotFailed("the simulated arm is not connected: connect() opens its cameras")
        self._stopped.clear()
        observation = self.state()
        for name in CUBES:
            observation[f"sim.objects.{name}"] = self.cube(name)
        if self._renderer is not None:
            return observation | {f"image.{name}": self._renderer.render(self._data, name) for name in CAMERAS}
        now = monotonic()
        self._show(now)
        assert self._cameras is not None
        pictures, at = self._cameras.newest(self._since)
        self._taken = dict.fromkeys(observation, now) | dict.fromkeys(pictures, at)
        return observation | pictures

    def state(self) -> dict[str, Any]:
        """See :meth:`Robot.state`. An arm that was stopped stays so."""
        self._keep_up()
        mj.mj_forward(self._model, self._data)
        data = self._data
        return {
            "robot_state.ee_pose": site_pose(data, self._tcp),
            "robot_state.q": np.array(data.qpos[:7]),
            "robot_state.dq": np.array(data.qvel[:7]),
            # A finger at its stop gives way by a hair.
            "grip": np.clip([1 - float(data.qpos[7:9].mean()) / FINGER_TRAVEL], 0, 1),
        }

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        """Play one row for ``seconds``; the joints' set-points go there in a straight line.

        Only the robot knows where a joint_delta leads when it is played: no set-point moves faster than such an arm's
        joints can (:data:`.scene.JOINT_SPEEDS`), whatever anybody's limits are.
        """
        if self._stopped.is_set():
            return
        self._keep_up()
        sent: Vector = np.array(self._data.ctrl)
        # Without what somebody has pushed it off: that is no affair of who commands it.
        start = sent - np.append(self._pushes.offset, 0)
        target = self._set_points(action, start)
        speeds = np.abs(target[:7] - start[:7]) / seconds
        if (speeds > np.array(JOINT_SPEEDS) * (1 + 1e-9)).any():
            worst = int((speeds / JOINT_SPEEDS).argmax())
            (name,) = action.keys() & set(ARM_ACTIONS)
            raise InvalidAction(
                f"{name} would move joint {worst + 1} at {speeds[worst]:.4g} rad/s; "
                f"this arm's moves at {JOINT_SPEEDS[worst]:g} rad/s at most"
            )
        target[:7] = self._pushed(target[:7], sent[:7], seconds)
        self._due += seconds
        steps = max(round((self._due - self.time) / float(self._model.opt.timestep)), 0)
        for step in range(1, steps + 1):
            if (step - 1) % self._per_period == 0:
                self._await_set_point()
            if self._stopped.is_set():
                self._due = self.time
                return
            self._data.ctrl[:] = sent + (target - sent) * (step / steps)
            mj.mj_step(self._model, self._data)
        if self.grid is not None:
            self.grid.rest()

    def stop(self) -> None:
        """See :meth:`Robot.stop`. The set-points stay where they have got to."""
        self._stopped.set()

    def close(self) -> None:
        """Release the cameras."""
        cameras, self._cameras = self._cameras, None
        if cameras is not None:
            cameras.close()
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()

    def cube(self, name: str) -> Vector:
        """The pose (7,) of a cube's centre in the arm base frame."""
        return np.array(self._data.joint(name).qpos)

    def cube_speed(self, name: str) -> float:
        """How fast a cube's centre moves, m/s."""
        return float(np.linalg.norm(self._data.joint(name).qvel[:3]))

    def touches_gripper(self, cube: str) -> bool:
        """Whether a cube touches the hand or a finger."""
        fingers = {int(self._model.body(name).id) for name in ("left_finger", "right_finger", "hand")}
        other = int(self._model.body(cube).id)
        bodies = self._model.geom_bodyid
        pairs = ({int(bodies[contact.geom1]), int(bodies[contact.geom2])} for contact in self._data.contact)
        return any(other in pair and pair & fingers for pair in pairs)

    def _keep_up(self) -> None:
        """Where time passes by itself: what has happened since somebody called last, to an arm that held still."""
        if self.grid is None or not (idle := self.grid.anew()):
            return
        for _ in range(round(min(idle, _SETTLED) / float(self._model.opt.timestep))):
            mj.mj_step(self._model, self._data)
        self._due = self.time
        if idle > _IDLE:
            self._since = monotonic()

    def _await_set_point(self) -> None:
        if self.grid is not None:
            self._show(self.grid.next())

    def _show(self, at: float) -> None:
        if self._cameras is not None:
            self._cameras.show(self._data.qpos, at)

    def _set_points(self, action: Mapping[str, Any], now: Vector) -> Vector:
        action = self.checked(action)
        if len(arm := [name for name in ARM_ACTIONS if name in action]) > 1:
            raise InvalidAction(f"{' and '.join(arm)} both command the arm; a row may hold one of them")
        target = now.copy()
        if "target_grip" in action:
            target[7] = FINGER_TRAVEL * (1 - closure(action["target_grip"], "target_grip"))
        if arm:
            joints = self._joints(arm[0], action[arm[0]], now[:7])
            low, high = self._kinematics.limits.T
            if (outside := (joints < low) | (joints > high)).any():
                worst = int(outside.argmax())
                raise InvalidAction(
                    f"{arm[0]} sends joint {worst + 1} to {joints[worst]:.3f} rad; "
                    f"its range is {low[worst]:g} … {high[worst]:g}"
                )
            target[:7] = joints
        return target

    def _pushed(self, joints: Vector, sent: Vector, seconds: float) -> Vector:
        """Where the joints go that are commanded to ``joints``: elsewhere, within what this arm can do."""
        if not self._push_size:
            return joints
        low, high = self._kinematics.limits.T
        step = np.clip(joints + self._pushes.next(seconds) - sent, *(np.outer((-seconds, seconds), JOINT_SPEEDS)))
        pushed = np.clip(sent + step, low, high)
        self._pushes.offset = pushed - joints
        return pushed

    def _joints(self, name: str, value: Any, commanded: Vector) -> Vector:
        if name == "target_pose":
            return self._kinematics.solve(pose(value, name), commanded)
        joints = vector(value, 7, name)
        return joints if name == "target_joints" else np.array(self._data.qpos[:7]) + joints


def make_sim(options: SimOptions) -> SimRobot:
    """What ``offboard run sim`` drives."""
    return SimRobot(**vars(options))
