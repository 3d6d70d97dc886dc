"""The built-in vendor passes the kit that third parties inherit."""

import numpy as np
import pytest
from offboard_client.robots.sim import COLOURS
from offboard_core.testing import ChildLaws, VendorConformance


def pose(x, y, z):
    return np.array([x, y, z, 1.0, 0.0, 0.0, 0.0])


class TestScripted(VendorConformance):
    plugin = "scripted"

    @pytest.fixture
    def observation(self):
        cubes = {f"sim.objects.{colour}_cube": pose(0.5, 0.1 * i, 0.02) for i, colour in enumerate(COLOURS)}
        return {
            "robot_state.ee_pose": pose(0.4, 0.0, 0.3),
            "grip": 0.0,
            "task": "stack the red cube on the green cube",
            **cubes,
        }


class TestScriptedInAWorker(TestScripted, ChildLaws):
    isolated = True
