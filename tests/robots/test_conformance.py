"""The simulated arm passes the kit that third parties' robots inherit."""

from typing import Any

import pytest
from offboard_client.robots.sim import SimOptions
from offboard_client.testing import RobotConformance


class TestSim(RobotConformance):
    name = "sim"
    instruction = "stack the red cube on the green cube"


class TestSimInRealTime(TestSim):
    @pytest.fixture
    def options(self, chosen: Any) -> SimOptions:
        return SimOptions(clock="real")
