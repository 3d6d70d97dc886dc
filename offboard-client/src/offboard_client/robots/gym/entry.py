"""Gymnasium's environments as ``offboard run gymnasium:ID`` finds them; told without Gymnasium."""

from __future__ import annotations

from .. import RobotEntry

gymnasium = RobotEntry(
    summary="Any Gymnasium environment (offboard-client[gym]), by its id and a file that names what its spaces hold.",
    factory="offboard_client.robots.gym:make_gym",
    options="offboard_client.robots.gym:GymOptions",
    task="offboard_client.robots.gym:make_gym_task",
    part="ID",
)
