"""Forward and inverse kinematics of the simulated arm, on a copy of the state that no physics sees."""

from __future__ import annotations

import math

import numpy as np

from ...errors import InvalidAction
from .. import Vector, distance
from ._mujoco import Data, Model, mj

#: When a solution is close enough to be the pose that was asked for.
POSITION_TOLERANCE = 1e-4
ROTATION_TOLERANCE = 1e-3


class Kinematics:
    """Joint angles (n,) in radians to the pose of a site and back; poses as in :mod:`..poses`, base frame."""

    def __init__(self, model: Model, joints: list[str], site: str = "tcp", rest: Vector | None = None) -> None:
        self._model, self._data = model, mj.MjData(model)
        self._site = int(model.site(site).id)
        self._q = np.array([int(model.joint(name).qposadr[0]) for name in joints])
        self._v = np.array([int(model.joint(name).dofadr[0]) for name in joints])
        self.limits: Vector = np.array([model.joint(name).range for name in joints], dtype=np.float64)
        self._rest = self.limits.mean(axis=1) if rest is None else rest
        self._jacobian = np.empty((6, model.nv))

    def forward(self, q: Vector) -> Vector:
        """The pose (7,) at joint angles ``q``."""
        self._data.qpos[self._q] = q
        mj.mj_kinematics(self._model, self._data)
        return site_pose(self._data, self._site)

    def solve(self, target: Vector, start: Vector, iterations: int = 100) -> Vector:
        """Joint angles within the limits that reach ``target`` (7,), found from ``start`` and so the nearest ones.

        Damped least squares (Wampler 1986; Nakamura and Hanafusa 1986): each step minimises the distance
        left plus a little of the step's own length, which keeps it small near singularities. At first the
        arm's spare joint is also drawn to the rest posture, so that a long run does not wander to a joint's
        stop; the pull fades, as with joints at their stops it would keep the search from closing in.
        Raises InvalidAction when no such angles are found: a pose that is merely near is never returned.
        """
        q = start.copy()
        for iteration in range(iterations):
            here = self.forward(q)
            metres, radians = distance(here, target)
            if metres < POSITION_TOLERANCE and radians < ROTATION_TOLERANCE:
                return q
            error = np.empty(6)
            error[:3] = target[:3] - here[:3]
            error[3:] = _rotation_vector(target[3:], here[3:])
            # Far from the target the linearisation is wrong anyway: go there in bounded steps.
            error[:3] *= min(1.0, 0.1 / max(metres, 1e-9))
            error[3:] *= min(1.0, 0.5 / max(radians, 1e-9))
            mj.mj_comPos(self._model, self._data)
            mj.mj_jacSite(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._site)
            jacobian = self._jacobian[:, self._v]
            pinv = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + 1e-4 * np.eye(6))
            spare = np.eye(len(q)) - pinv @ jacobian
            step = pinv @ error + spare @ (0.05 / (1 + iteration) ** 2 * (self._rest - q))
            q = np.clip(q + step, self.limits[:, 0], self.limits[:, 1])
        metres, radians = distance(self.forward(q), target)
        raise InvalidAction(
            f"the arm cannot reach the pose {np.round(target, 4).tolist()} (m and w x y z, in its base frame): "
            f"the nearest found is {1000 * metres:.1f} mm and {math.degrees(radians):.1f} degrees away"
        )


def site_pose(data: Data, site: int) -> Vector:
    """The pose (7,) of a site as the last kinematics left it."""
    pose = np.empty(7)
    pose[:3] = data.site_xpos[site]
    mj.mju_mat2Quat(pose[3:], data.site_xmat[site])
    return pose


def _rotation_vector(target: Vector, here: Vector) -> Vector:
    """The rotation from ``here`` to ``target`` as axis times angle, in base axes."""
    back, turn, vector = np.empty(4), np.empty(4), np.empty(3)
    mj.mju_negQuat(back, here)
    mj.mju_mulQuat(turn, target, back)
    mj.mju_quat2Vel(vector, turn, 1.0)
    return vector
