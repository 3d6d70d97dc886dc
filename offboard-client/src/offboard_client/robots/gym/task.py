"""What is evaluated on an environment: what it says itself of success and reward."""

from __future__ import annotations

from .robot import GymRobot


class GymTask:
    """The environment's own task. A :class:`~offboard_client.robots.Task`."""

    def __init__(self, robot: GymRobot, instruction: str | None) -> None:
        self._robot = robot
        self._instruction = instruction or robot.spaces.task

    @property
    def instruction(self) -> str | None:
        """What ``--task`` says, or the file."""
        return self._instruction

    def reset(self, seed: int) -> None:
        """The environment anew, by its own seed."""
        self._robot.reset(seed)

    def over(self) -> bool:
        """Whether the environment has ended the episode."""
        return self._robot.over

    def succeeded(self) -> bool | None:
        """As the file says; None where it does not, and before the first step of one that is judged by its info."""
        judged, robot = self._robot.spaces.success, self._robot
        if judged is None:
            return None
        if judged.info is not None:
            return robot.done if robot.rewards else None
        if judged.reward is not None:
            return max(robot.rewards, default=-float("inf")) >= judged.reward
        return robot.terminated

    def scores(self) -> dict[str, float]:
        """``sum_reward`` and ``max_reward`` of the episode's steps; {} before the first."""
        rewards = self._robot.rewards
        return {"sum_reward": sum(rewards), "max_reward": max(rewards)} if rewards else {}


def make_gym_task(robot: GymRobot, instruction: str | None) -> GymTask:
    """What ``offboard run gymnasium:ID`` judges; the instruction is the policy's affair."""
    return GymTask(robot, instruction)
