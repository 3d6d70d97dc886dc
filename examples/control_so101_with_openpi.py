"""The control loop of an arm of LeRobot that a policy at a server plays, written out.

::

    python control_so101_with_openpi.py --robot.type=so101_follower --robot.port=/dev/ttyACM0 \
        --robot.cameras='{wrist2: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}' \
        --policy.type=pi05_websocket --policy.websocket_url=ws://gpu-box:8000 --task='pick up the cube'

An error of the policy ends it, with the arm where it is; no action is made up in its place.
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
from lerobot.configs import parser
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class
from lerobot.robots import RobotConfig, make_robot_from_config, so_follower  # noqa: F401
from lerobot.utils.import_utils import register_third_party_plugins


@dataclass
class ControlConfig:
    robot: RobotConfig
    policy: PreTrainedConfig
    task: str
    seconds: float = 60.0
    fps: float = 30.0


def batch_of(observation: dict[str, Any], robot: Any, task: str) -> dict[str, Any]:
    """What a policy is handed of one robot: the joints as one vector, images (1, 3, h, w) from 0 to 1."""
    batch: dict[str, Any] = {"task": task}
    joints = [observation[name] for name, kind in robot.observation_features.items() if kind is float]
    batch["observation.state"] = torch.tensor([joints], dtype=torch.float32)
    for name, kind in robot.observation_features.items():
        if isinstance(kind, tuple):
            batch[f"observation.images.{name}"] = torch.from_numpy(observation[name]).permute(2, 0, 1)[None] / 255
    return batch


def control(config: ControlConfig) -> None:
    robot = make_robot_from_config(config.robot)
    kind: Any = get_policy_class(config.policy.type)
    policy = kind.from_pretrained(None, config=config.policy)
    robot.connect()
    try:
        policy.reset()
        end = time.monotonic() + config.seconds
        while (began := time.monotonic()) < end:
            action = policy.select_action(batch_of(robot.get_observation(), robot, config.task))[0]
            robot.send_action(dict(zip(robot.action_features, action.tolist(), strict=True)))
            time.sleep(max(0.0, 1 / config.fps - (time.monotonic() - began)))
    finally:
        policy.close()
        robot.disconnect()


if __name__ == "__main__":
    register_third_party_plugins()
    main: Any = parser.wrap()(control)
    main()
