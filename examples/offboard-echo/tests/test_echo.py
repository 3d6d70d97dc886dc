import numpy as np
import pytest
from offboard_core.testing import VendorConformance


class TestEcho(VendorConformance):
    plugin = "echo"

    @pytest.fixture
    def observation(self):
        return {"robot_state.ee_pose": np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]), "grip": 0.5}
