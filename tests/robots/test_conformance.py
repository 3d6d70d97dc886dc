"""The simulated arm passes the kit that third parties' robots inherit."""

from offboard_client.testing import RobotConformance


class TestSim(RobotConformance):
    name = "sim"
    instruction = "stack the red cube on the green cube"
