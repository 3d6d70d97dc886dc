"""The scene: an arm with a gripper on a table, cubes, a wrist and an exterior camera. Primitive shapes only.

The arm has the kinematics of a Franka Panda: its Denavit-Hartenberg table (Craig's convention), joint
ranges, speeds and torque limits are those Franka publishes. The arm's base frame is the world frame: x points
away from the base over the table, z up, the table's top is z = 0. Lengths are metres, angles radians.
The frame of ``ee_pose`` is the site ``tcp``: between the finger tips, z out of the gripper, y along the
direction in which the fingers open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tasks import CUBE_SIZE

#: The posture in which an episode starts: the gripper points straight down at (0.31, 0, 0.49).
HOME = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)
CUBES = {"red_cube": (0.85, 0.12, 0.1), "green_cube": (0.1, 0.65, 0.2), "blue_cube": (0.12, 0.25, 0.85)}
CAMERAS = ("wrist", "exterior")
#: How far each of the two fingers travels; the gripper opens to twice this.
FINGER_TRAVEL = 0.04
BACKGROUND = (0.62, 0.72, 0.82)


@dataclass(frozen=True)
class _Joint:
    """One row of the table: the joint's frame in that of the joint before it, and what the joint may do."""

    a: float
    d: float
    alpha: float
    range: tuple[float, float]
    torque: float
    speed: float
    mass: float


_RIGHT = math.pi / 2
_JOINTS = (
    _Joint(0.0, 0.333, 0.0, (-2.8973, 2.8973), 87, 2.175, 4.0),
    _Joint(0.0, 0.0, -_RIGHT, (-1.7628, 1.7628), 87, 2.175, 3.0),
    _Joint(0.0, 0.316, _RIGHT, (-2.8973, 2.8973), 87, 2.175, 3.0),
    _Joint(0.0825, 0.0, _RIGHT, (-3.0718, -0.0698), 87, 2.175, 3.0),
    _Joint(-0.0825, 0.384, -_RIGHT, (-2.8973, 2.8973), 12, 2.61, 2.0),
    _Joint(0.0, 0.0, _RIGHT, (-0.0175, 3.7525), 12, 2.61, 1.5),
    _Joint(0.088, 0.0, _RIGHT, (-2.8973, 2.8973), 12, 2.61, 0.7),
)
#: The fastest that each joint moves, rad/s.
JOINT_SPEEDS = tuple(joint.speed for joint in _JOINTS)
_FLANGE, _TCP = 0.107, 0.1034

_HAND = f"""
<body name="hand" pos="0 0 {_FLANGE}" quat="{math.cos(math.pi / 8)} 0 0 {-math.sin(math.pi / 8)}" gravcomp="1">
  <geom class="arm" type="box" size="0.032 0.1 0.033" pos="0 0 0.033" rgba="0.25 0.25 0.28 1" mass="0.6"/>
  <site name="tcp" pos="0 0 {_TCP}"/>
  <camera name="wrist" pos="0.08 0 0.05" {{wrist_axes}} fovy="80"/>
  <body name="left_finger" pos="0 0 0.0584" gravcomp="1">
    <joint name="left_finger" class="finger" axis="0 1 0"/>
    <geom class="finger" pos="0 0.006 0.027"/>
  </body>
  <body name="right_finger" pos="0 0 0.0584" gravcomp="1">
    <joint name="right_finger" class="finger" axis="0 -1 0"/>
    <geom class="finger" pos="0 -0.006 0.027"/>
  </body>
</body>
"""

_SCENE = """
<mujoco model="offboard">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual><global offwidth="1280" offheight="1280"/></visual>
  <default>
    <default class="arm"><geom contype="1" conaffinity="2" rgba="0.9 0.9 0.92 1"/></default>
    <default class="finger">
      <joint type="slide" range="0 {travel}" damping="20" armature="0.1"/>
      <geom contype="1" conaffinity="2" type="box" size="0.01 0.006 0.027" mass="0.05" rgba="0.4 0.4 0.43 1"
            friction="1.5 0.01 0.001" condim="4"/>
    </default>
    <default class="world"><geom contype="2" conaffinity="3" friction="1 0.01 0.001" condim="4"/></default>
  </default>
  <worldbody>
    <light pos="0.4 -0.6 2" dir="0 0.3 -1"/>
    <geom class="world" type="plane" pos="0 0 -0.5" size="4 4 0.1" rgba="0.45 0.46 0.48 1"/>
    <geom class="world" name="table" type="box" pos="0.4 0 -0.025" size="0.6 0.6 0.025" rgba="0.75 0.66 0.54 1"/>
    <camera name="exterior" pos="{eye}" {exterior_axes} fovy="45"/>
    <geom class="arm" type="cylinder" fromto="0 0 0 0 0 0.25" size="0.08" rgba="0.9 0.9 0.92 1"/>
    {arm}
    {cubes}
  </worldbody>
  <equality><joint joint1="right_finger" joint2="left_finger" solref="0.005 1"/></equality>
  <actuator>
    {servos}
    <position name="grip" joint="left_finger" kp="1000" kv="40" forcerange="-40 40" ctrlrange="0 {travel}"/>
  </actuator>
</mujoco>
"""


def _axes(forward: tuple[float, float, float], up: tuple[float, float, float]) -> str:
    """A MuJoCo camera looks along its own -z with y up in the picture."""
    ahead = np.array(forward) / np.linalg.norm(forward)
    right: NDArray[np.float64] = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    return 'xyaxes="' + " ".join(f"{v:.9f}" for v in (*right, *np.cross(right, ahead))) + '"'


def _arm() -> str:
    """The chain of joints, outermost first, each link a cylinder to the next joint and a housing around its own."""
    chain = _HAND.format(wrist_axes=_axes((-0.3, 0.0, 1.0), (1.0, 0.0, 0.0)))
    tip = f"0 0 {_FLANGE}"
    for number, joint in reversed(list(enumerate(_JOINTS, start=1))):
        pos = f"{joint.a} {-joint.d * math.sin(joint.alpha)} {joint.d * math.cos(joint.alpha)}"
        turn = f"{math.cos(joint.alpha / 2)} {math.sin(joint.alpha / 2)} 0 0"
        low, high = joint.range
        link = f'<geom class="arm" type="cylinder" fromto="0 0 0 {tip}" size="0.05" mass="{joint.mass / 2}"/>'
        chain = f"""
        <body name="link{number}" pos="{pos}" quat="{turn}" gravcomp="1">
          <joint name="joint{number}" range="{low} {high}" armature="0.1" damping="1"/>
          <geom class="arm" type="cylinder" size="0.055 0.06" rgba="0.32 0.34 0.38 1" mass="{joint.mass / 2}"/>
          {link if tip != "0 0 0" else ""}
          {chain}
        </body>"""
        tip = pos if (joint.a or joint.d) else "0 0 0"
    return chain


def _servo(number: int, joint: _Joint) -> str:
    low, high = joint.range
    return (
        f'<position name="joint{number}" joint="joint{number}" kp="{4000 if joint.torque > 50 else 800}" dampratio="1"'
        f' ctrlrange="{low} {high}" forcerange="{-joint.torque} {joint.torque}"/>'
    )


def _cube(name: str, rgb: tuple[float, float, float]) -> str:
    colour, half = " ".join(map(str, rgb)), CUBE_SIZE / 2
    return (
        f'<body name="{name}" pos="0.5 0 {half}"><freejoint name="{name}"/>'
        f'<geom class="world" type="box" size="{half} {half} {half}" mass="0.05" rgba="{colour} 1"/></body>'
    )


def mjcf() -> str:
    """The scene as MJCF, MuJoCo's own XML."""
    eye, target = (1.3, 0.6, 0.75), (0.36, 0.0, 0.2)
    forward = (target[0] - eye[0], target[1] - eye[1], target[2] - eye[2])
    return _SCENE.format(
        travel=FINGER_TRAVEL,
        eye=" ".join(map(str, eye)),
        exterior_axes=_axes(forward, (0.0, 0.0, 1.0)),
        arm=_arm(),
        cubes="\n".join(_cube(name, rgb) for name, rgb in CUBES.items()),
        servos="\n".join(_servo(number, joint) for number, joint in enumerate(_JOINTS, start=1)),
    )
