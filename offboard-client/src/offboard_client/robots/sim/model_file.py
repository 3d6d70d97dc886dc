"""Kinematics that a file describes: a URDF or an MJCF, which MuJoCo reads both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, told, unknown
from .. import Vector
from ._mujoco import mj
from .kinematics import Kinematics

#: An arm of so many joints has one way to a pose near where it is. Of fewer it has none, of more its driver chooses.
_SOLVABLE = 6
#: rad or m; for a joint without a range.
_ANYWHERE = 1e4
#: What says nothing about where links are, and may name what is not there.
_BESIDES = (
    "keys", "tuples", "sensors", "actuators", "tendons", "equalities", "pairs", "excludes", "skins", "flexes",
    "cameras", "lights", "geoms", "meshes", "hfields", "materials", "textures",
)  # fmt: skip
_TIP = "the tip of offboard"


class ModelFile:
    """The kinematics of an arm in a file (:class:`~offboard_client.robots.Kinematics`).

    Poses are those of ``tip``, in the frame of the model's world. ``joints``: their names, in the order of
    ``robot_state.q``. An arm of six joints has ``solve`` too.
    """

    def __init__(self, path: Path, tip: str, joints: tuple[str, ...], model: Kinematics) -> None:
        self.path, self.tip, self.joints = path, tip, joints
        self._model = model
        self.limits = model.limits
        if len(joints) == _SOLVABLE:
            self.solve = model.solve

    def forward(self, q: Vector) -> Vector:
        """Joints (n,) in rad, m of those that slide → pose (7,)."""
        return self._model.forward(q)


def read_model_file(path: Path, tip: str, joints: Sequence[str] | None = None) -> ModelFile:
    """The arm that ends at ``tip``, a body (a URDF's link) or a site of the file.

    ``joints``: the names of all that lie between the model's world and there, in the robot's order; None: in their
    order from the world. Meshes are not read. Raises ConfigurationError.
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}; the kinematics' file is named relative to the limits file")
    try:
        spec = mj.MjSpec.from_file(str(path))
        model = _compiled(spec, tip)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.text}") from None
    except Exception as error:  # MuJoCo's own are ValueErrors, for now
        raise ConfigurationError(
            f"{path} is neither a URDF nor an MJCF that MuJoCo can read: {' '.join(told(error).split())}"
        ) from error
    chain = _chain(model, path, tip)
    if joints is not None:
        for name in joints:
            if name not in chain:
                raise ConfigurationError(f"{path}: {unknown('joint', name, chain, f'between its world and {tip}')}")
        if sorted(joints) != sorted(chain):
            raise ConfigurationError(
                f"{path}: the joints between its world and {tip} are {', '.join(chain)}; name each of them once"
            )
        chain = list(joints)
    for name in chain:
        joint = model.joint(name)
        if not joint.limited[0]:
            joint.range[:] = -_ANYWHERE, _ANYWHERE
    return ModelFile(path, tip, tuple(chain), Kinematics(model, chain, _TIP))


def _compiled(spec: Any, tip: str) -> Any:
    bodies, sites = {body.name: body for body in spec.bodies[1:] if body.name}, {site.name for site in spec.sites}
    if tip in sites:
        spec.site(tip).name = _TIP
    elif tip in bodies:
        bodies[tip].add_site(name=_TIP)
    else:
        raise ConfigurationError(unknown("body or site", tip, [*bodies, *(name for name in sites if name)]))
    for kind in _BESIDES:
        for each in list(getattr(spec, kind)):
            spec.delete(each)
    spec.compiler.fusestatic = False  # a URDF's tool is a link that is fixed to the one before it
    for body in spec.bodies[1:]:  # whatever was deleted had given them their mass, which does not matter here
        body.explicitinertial, body.mass, body.inertia = True, 1.0, [1.0, 1.0, 1.0]
    for number, joint in enumerate(spec.joints):
        joint.name = joint.name or f"#{number + 1}"
    return spec.compile()


def _chain(model: Any, path: Path, tip: str) -> list[str]:
    """The joints from the world to the tip."""
    chain: list[str] = []
    body = int(model.site(_TIP).bodyid[0])
    while body:
        first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        chain[:0] = [model.joint(number).name for number in range(first, first + count)]
        body = int(model.body_parentid[body])
    simple = int(mj.mjtJoint.mjJNT_HINGE), int(mj.mjtJoint.mjJNT_SLIDE)
    for name in chain:
        if int(model.joint(name).type[0]) not in simple:
            raise ConfigurationError(f"{path}: the joint {name} neither turns about one axis nor slides along one")
    if not chain:
        raise ConfigurationError(f"{path}: there is no joint between its world and {tip}; name the arm's other end")
    return chain
