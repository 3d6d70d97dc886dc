"""What ``offboard run planar`` finds. It is imported for ``offboard run --help``, so it is light; arm.py is not."""

from offboard_client.robots import RobotEntry

planar = RobotEntry(
    summary="An arm of three joints in the plane.",
    factory="offboard_robot.arm:Arm",
    options="offboard_robot.arm:Options",
    task="offboard_robot.arm:Homing",
)
