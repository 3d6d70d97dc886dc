"""LeRobot's policy ``pi05_websocket`` against a server that answers as openpi's own, and the loop of the example."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inside_lerobot import MOTORS, install
from offboard_client.errors import InferTimeout, InvalidAction, PolicyFailed
from offboard_core.process import free_port
from openpi_standin import openpi_server, write_step

#: LeRobot with its policies is imported for them, tens of seconds in each process.
pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "control_so101_with_openpi.py"
#: What the stand-in's policy for this arm answers: the state's first number, then this.
VALUE, HORIZON = 12.5, 8


@pytest.fixture(autouse=True)
def _registered():
    """As LeRobot has it."""
    import lerobot_policy_offboard  # noqa: F401


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    port = free_port()
    step = write_step(tmp_path_factory.mktemp("openpi") / "10000", "mine", width=6, value=VALUE)
    with openpi_server(step, port, "pi05_so101"):
        yield port


def policy_of(kind: str, **words: Any) -> Any:
    from lerobot.policies.factory import get_policy_class, make_policy_config

    return get_policy_class(kind).from_pretrained(None, config=make_policy_config(kind, push_to_hub=False, **words))


def batch(first: float, task: str = "pick up the cube") -> dict[str, Any]:
    import torch

    return {
        "observation.state": torch.full((1, 6), first),
        "observation.images.wrist2": torch.rand(1, 3, 224, 224),
        "observation.images.realsense": torch.rand(1, 3, 48, 64),
        "task": task,
    }


def test_a_stock_openpi_server_plays_as_many_steps_as_the_seed_says(port):
    policy = policy_of("pi05_websocket", websocket_url=f"ws://127.0.0.1:{port}", timeout=60.0)
    assert policy.config.action_horizon == HORIZON
    played = [policy.select_action(batch(float(number))).numpy()[0] for number in range(HORIZON + 1)]
    assert [action[0] for action in played] == [0.0] * HORIZON + [float(HORIZON)]
    assert all(action[1:].tolist() == [VALUE] * 5 for action in played)
    policy.close()


def test_the_same_by_its_address(port):
    policy = policy_of("offboard", url=f"openpi://127.0.0.1:{port}", timeout=60.0)
    assert policy.predict_action_chunk(batch(3.0)).shape == (1, 10, 6), "all that the model answers"
    assert not policy.supports_rtc()
    policy.close()


def test_a_person_says_what_the_servers_keys_and_columns_are(port):
    policy = policy_of(
        "offboard", url=f"openpi://127.0.0.1:{port}", timeout=60.0, fps=30.0,
        openpi_keys=[
            "observation/state=robot_state.q:6", "observation/images/wrist2=image.wrist2",
            "observation/images/realsense=image.realsense", "prompt=task",
        ],
        openpi_actions=["target_joints:5", "target_grip:1"],
        map={"robot_state.q": "observation.state", "target_joints": "action[1:6]", "target_grip": "action[0]"},
    )  # fmt: skip
    with pytest.raises(InvalidAction, match=r"target_grip of row 0 is 12\.5; 0 is open and 1 is closed"):
        policy.predict_action_chunk(batch(3.0))
    policy.close()
    policy = policy_of(
        "offboard", url=f"openpi://127.0.0.1:{port}", timeout=60.0, fps=30.0,
        openpi_keys=[
            "observation/state=robot_state.q:6", "observation/images/wrist2=image.wrist2",
            "observation/images/realsense=image.realsense", "prompt=task",
        ],
        openpi_actions=["target_joints:6"],
        map={"robot_state.q": "observation.state", "target_joints": "action"},
    )  # fmt: skip
    assert policy.select_action(batch(3.0)).tolist() == [[3.0, *[VALUE] * 5]]
    policy.close()


def test_what_it_answers_wrongly_or_late_is_not_played(port):
    policy = policy_of("pi05_websocket", websocket_url=f"ws://127.0.0.1:{port}", timeout=60.0)
    for task, error, why in (
        ("nan", InvalidAction, "not all finite"),
        ("narrow", InvalidAction, "expected one step or more of 6 numbers"),
        ("raise", PolicyFailed, "a bad thing in the middle of the model"),
    ):
        with pytest.raises(error, match=why):
            policy.select_action(batch(1.0, task))
        policy.reset()
    assert policy.select_action(batch(2.0)).shape == (1, 6)
    policy.close()
    late = policy_of("pi05_websocket", websocket_url=f"ws://127.0.0.1:{port}", timeout=0.5)
    with pytest.raises(InferTimeout, match="This episode is lost"):
        late.select_action(batch(1.0, "block 2"))
    late.close()


def test_the_control_loop_of_the_example(port, tmp_path, monkeypatch):
    from lerobot.robots import RobotConfig

    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    log = tmp_path / "sent"
    words = ["--robot.type=trial_arm", f"--robot.log={log}", "--robot.eyes=[wrist2, realsense]"]
    words += ["--policy.type=pi05_websocket", f"--policy.websocket_url=ws://127.0.0.1:{port}", "--policy.timeout=60"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *words, "--task=pick up the cube", "--seconds=0.5", "--fps=1000"])
    try:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    finally:
        forget(RobotConfig)
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    assert sent
    assert sent[0] == {f"{name}.pos": 10.0 if name == MOTORS[0] else VALUE for name in MOTORS}


def forget(configs: Any) -> None:
    """What the arm's package has registered, as if it had never been."""
    for name in [name for name in sys.modules if name.startswith("lerobot_robot_trial")]:
        del sys.modules[name]
    with contextlib.suppress(KeyError):
        del configs._choice_registry["trial_arm"]
    from lerobot.envs.configs import EnvConfig

    EnvConfig._choice_registry.pop("trial_env", None)
