"""A robot that does what the policy says at once, and is done if the policy says so: thousands of trials in seconds."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from plugin_dists import write_plugin

ROBOT = '''
import numpy as np
from offboard_client.robots import Channel, Robot, RobotEntry, RobotSpec


class Coin(Robot):
    """Measures which start it is, and plays a grip: closed is success."""

    realtime = False
    spec = RobotSpec(
        measures={"robot_state.q": Channel(shape=(1,), dtype="float64", unit="rad")},
        plays={"target_grip": Channel(shape=(1,))},
        control_period=0.1, simulated=SIMULATED,
    )

    def observe(self):
        return {"robot_state.q": np.array([float(self.start)])}

    def apply(self, action, seconds):
        if "target_grip" in action:
            self.grip = float(action["target_grip"][0])

    def stop(self):
        pass


class Task:
    instruction = "close"

    def __init__(self, robot):
        self.robot = robot

    def reset(self, seed):
        self.robot.start, self.robot.grip = seed, 0.0

    def succeeded(self):
        return None if JUDGED else self.robot.grip > 0.5

    def scores(self):
        return {"score": self.robot.grip}


robot = RobotEntry(summary="A coin.", factory=lambda options: Coin(), task=lambda robot, instruction: Task(robot))
'''


def install(folder: Path, name: str = "coin", *, simulated: bool = True, judged: bool = False) -> Path:
    """The robot ``name``, into ``folder``. ``judged``: by a person alone."""
    source = ROBOT.replace("SIMULATED", str(simulated)).replace("JUDGED", str(judged))
    return write_plugin(folder, name, source, group="offboard.robots", attr="robot")


def wins(name: str, start: int, rate: float) -> bool:
    """Whether the model ``name`` succeeds from a start: always the same, and in that share of all."""
    drawn = int.from_bytes(hashlib.sha256(f"{name} {start}".encode()).digest()[:8], "big")
    return drawn / 2**64 < rate


def planted(name: str, rate: float) -> Callable[[], Callable[[Mapping[str, Any]], Any]]:
    """A model of that rate of success, for an InferenceServer."""

    def policy(observation: Mapping[str, Any]) -> Any:
        start = round(float(observation["robot_state.q"][0]))
        return [{"target_grip": np.array([0.9 if wins(name, start, rate) else 0.1])}]

    return lambda: policy
