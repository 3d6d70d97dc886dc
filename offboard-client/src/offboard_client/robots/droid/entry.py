"""DROID's robot as ``offboard run droid`` finds it; told without DROID's package."""

from __future__ import annotations

from .. import RobotEntry

droid = RobotEntry(
    summary="DROID's Franka arm through its RobotEnv, at 15 Hz; needs DROID's own package, which is not on PyPI.",
    factory="offboard_client.robots.droid:make_droid",
    options="offboard_client.robots.droid:DroidOptions",
)
