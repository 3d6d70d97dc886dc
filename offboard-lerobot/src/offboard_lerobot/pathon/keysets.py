"""What the robots of LeRobot's one-arm layouts send and play, read back into canonical terms."""

from __future__ import annotations

from collections.abc import Mapping

from offboard_core.frontends import KeySet

from ..codecs import CAMERAS, STATE
from ..motors import TASK

_POSE, _JOINTS = "robot_state.ee_pose", "robot_state.q"


def _arm(name: str, measured: str, target: str) -> KeySet:
    return KeySet(
        name=name,
        vectors={STATE: {measured: 7, "grip": 1}},
        images={feature: image for image, feature in CAMERAS.items()},
        instruction=TASK,
        actions={target: 7, "target_grip": 1},
        columns={"action": 8},
    )


#: By the name of the codec whose checkpoints speak so.
KEYSETS: Mapping[str, KeySet] = {
    keys.name: keys
    for keys in (
        _arm("ee", _POSE, "target_pose"),
        _arm("ee_traj", _POSE, "target_pose"),
        _arm("joints", _JOINTS, "target_pose"),
        _arm("joints_traj", _JOINTS, "target_joints"),
    )
}
