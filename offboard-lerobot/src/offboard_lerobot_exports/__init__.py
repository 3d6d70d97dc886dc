"""LeRobot's data sets as ``offboard export`` finds them. Importing this imports neither torch nor lerobot."""

from __future__ import annotations

from offboard_client.exports import ExportEntry

__all__ = ["lerobot"]

lerobot = ExportEntry(
    summary="A LeRobot data set (v3.0) of whole attempts, with an `intervention` column; written by LeRobot.",
    factory="offboard_lerobot_exports.data_set:open_data_set",
    options="offboard_lerobot_exports.data_set:LeRobotSetOptions",
)
