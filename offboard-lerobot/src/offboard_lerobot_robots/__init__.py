"""LeRobot's robots as ``offboard run lerobot:TYPE`` finds them. Importing this imports neither torch nor lerobot."""

from __future__ import annotations

from offboard_client.robots import RobotEntry

__all__ = ["lerobot"]

lerobot = RobotEntry(
    summary="An arm of LeRobot (offboard-lerobot[lerobot]) by its type and flags, --robot.NAME; needs its calibration.",
    factory="offboard_lerobot_robots.arm:make_arm",
    options="offboard_lerobot_robots.options:ArmOptions",
    part="TYPE",
    dotted="robot",
)
