"""What the pages serve for a try without a checkpoint is driven by the clients that they are about."""

import re
from pathlib import Path

import numpy as np
import pytest
from lerobot_async import Client
from puppets import PATIENCE
from roboarena_client import RoboArenaClient

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
pytestmark = pytest.mark.timeout(2 * PATIENCE)


def server_of(page, file):
    """What the page's block makes, on ports of its own."""
    (code,) = re.findall(rf"```python\n(# {file}\n.+?)```", (HOW_TO / page).read_text("utf-8"), re.DOTALL)
    namespace = {}
    code = code.replace("8000", "0").replace("InferenceServer({", "server = InferenceServer({").replace(".serve()", "")
    exec(compile(code, file, "exec"), namespace)
    return namespace["server"]


def test_an_arm_of_lerobots_is_held_where_it_is():
    with server_of("lerobot-robots.md", "hold_arm.py") as server:
        _, port = server.listeners.addresses["lerobot"]
        with Client(port) as robot:
            robot.start(policy_type="offboard", pretrained_name_or_path="hold", actions_per_chunk=50)
            steps = robot.ask(**{"a.pos": 1.5, "b.pos": -2.0})
    assert [step.numbers.tolist() for step in steps] == [[1.5, -2.0]] * 10


def test_an_arm_of_roboarenas_is_told_to_go_where_it_is():
    joints = np.linspace(-1, 1, 7).astype(np.float32)
    with (
        server_of("harnesses.md", "hold_droid.py") as server,
        RoboArenaClient("127.0.0.1", f"{server.port}/roboarena") as arm,
    ):
        assert arm.config.action_space == "joint_position"
        seen = {"observation/joint_position": joints, "observation/gripper_position": np.float32([0.25])}
        told = arm.infer({**seen, "session_id": "s1"})["actions"]
    np.testing.assert_allclose(told, [[*joints, 0.25]], atol=1e-6)
