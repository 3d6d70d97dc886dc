"""Models that answer what the test says, and robots in front of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from offboard_core import Chunk
from offboard_core.server import InferenceServer
from puppets import Puppet, arm, source
from robots import Robot, robot

POSE = np.array([0.4, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5])
SENT = {"robot_state.ee_pose": POSE, "task": "up"}


@contextmanager
def open_robot(models, query: str = "") -> Iterator[Robot]:
    with InferenceServer({"only": models}, port=0) as server, robot(server, query=query) as one:
        one.opened()
        yield one


def answering(columns, fps=10, **more):
    """A model that always answers these columns."""
    chunk = columns if columns is None or isinstance(columns, Chunk) else Chunk(columns)
    return source({"a": lambda: Puppet(lambda episode, inputs: chunk)}, fps=fps, **more)


def arm_of(pose=None, grip=None):
    def answer(episode, inputs):
        poses, grips = np.tile(POSE, (3, 1)), np.full((3, 1), 0.5)
        if len(episode.seen) == 2:
            poses = poses if pose is None else pose
            grips = grips if grip is None else grip
        return Chunk({"target_pose": poses, "target_grip": grips})

    return arm(answer)
