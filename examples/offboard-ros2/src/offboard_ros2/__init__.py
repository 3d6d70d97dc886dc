"""What ``offboard run ros2`` finds. It is imported for ``offboard run --help``, so it is light; arm.py is not."""

from offboard_client.robots import RobotEntry

ros2 = RobotEntry(
    summary="An arm on ROS 2, by a file that says which topic is what; needs a shell in which ROS 2 is set up.",
    factory="offboard_ros2.arm:Arm",
    options="offboard_ros2.arm:Options",
)
