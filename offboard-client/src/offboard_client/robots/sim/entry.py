"""The simulated arm as ``offboard run sim`` finds it; told without MuJoCo."""

from __future__ import annotations

from .. import RobotEntry

sim = RobotEntry(
    summary="The simulated arm (offboard-client[sim]): 7 joints, a gripper, two cameras and three cubes.",
    factory="offboard_client.robots.sim:make_sim",
    options="offboard_client.robots.sim:SimOptions",
    task="offboard_client.robots.sim:make_stacking",
)
