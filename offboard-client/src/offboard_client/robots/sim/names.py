"""What the simulated arm measures and plays; told without MuJoCo."""

from __future__ import annotations

from dataclasses import replace

from ...wire import ACTIONS as MEANINGS
from .. import Channel, RobotSpec

ARM_ACTIONS = ("target_pose", "target_joints", "joint_delta")
JOINTS = tuple(f"joint{number}" for number in range(1, 8))
#: Seconds that making the pictures may take on a slow machine; and without any until the cameras count as frozen.
_RENDERING, _FROZEN = 0.2, 5.0
_FRAME = "the arm's base; of the point between the finger tips"
_POSE = "m, unit quaternion wxyz"
_IMAGE = Channel(shape=(224, 224, 3), dtype="uint8", unit="RGB")


def _pose(frame: str) -> Channel:
    return Channel(shape=(7,), unit=_POSE, frame=frame)


def _joints(unit: str) -> Channel:
    return Channel(shape=(7,), unit=unit, order=JOINTS)


SPEC = RobotSpec(
    measures={
        "robot_state.ee_pose": _pose(_FRAME),
        "robot_state.q": _joints("rad"),
        "robot_state.dq": _joints("rad/s"),
        "grip": Channel(shape=(1,), unit="0 open to 1 closed"),
        **{f"sim.objects.{colour}_cube": _pose("the arm's base") for colour in ("red", "green", "blue")},
        "image.wrist": _IMAGE,
        "image.exterior": _IMAGE,
    },
    plays={
        "target_pose": _pose(_FRAME),
        "target_joints": _joints(MEANINGS["target_joints"][1]),
        "joint_delta": _joints(MEANINGS["joint_delta"][1]),
        "target_grip": Channel(shape=(1,), unit=MEANINGS["target_grip"][1]),
    },
    control_period=0.01,
    simulated=True,
)


def seen(image_size: int) -> RobotSpec:
    """The same with pictures of so many pixels a side."""
    cameras = {name: replace(channel, shape=(image_size, image_size, 3)) for name, channel in SPEC.cameras.items()}
    return replace(SPEC, measures={**SPEC.measures, **cameras})


def live(spec: RobotSpec, rate: float) -> RobotSpec:
    """The same of an arm whose time passes by itself, and whose cameras have ``rate`` Hz."""
    cameras = {name: replace(channel, rate=rate) for name, channel in spec.cameras.items()}
    return replace(
        spec, measures={**spec.measures, **cameras}, max_skew=2 / rate + _RENDERING, stale_after=_FROZEN + 2 / rate
    )
