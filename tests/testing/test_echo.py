"""The example plugin passes the kit from where it lies, without being installed."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from offboard_core.testing import ChildLaws, VendorConformance

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "offboard-echo" / "src"


class TestEcho(VendorConformance):
    plugin = "echo"

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [str(SOURCE), *sys.path])
            yield EntryPoint("echo", "offboard_echo", "offboard")
            sys.modules.pop("offboard_echo", None)

    @pytest.fixture
    def observation(self):
        return {"robot_state.ee_pose": np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]), "grip": 0.5}


class TestEchoInAWorker(TestEcho, ChildLaws):
    isolated = True
