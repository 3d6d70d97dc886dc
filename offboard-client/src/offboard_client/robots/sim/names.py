"""What the simulated arm observes and plays, by canonical name; told without MuJoCo."""

from __future__ import annotations

ARM_ACTIONS = ("target_pose", "target_joints", "joint_delta")
ACTIONS = frozenset((*ARM_ACTIONS, "target_grip"))
OBSERVATION = frozenset(
    ("robot_state.ee_pose", "robot_state.q", "robot_state.dq", "grip", "task", "image.wrist", "image.exterior",
     "sim.objects.red_cube", "sim.objects.green_cube", "sim.objects.blue_cube")
)  # fmt: skip
