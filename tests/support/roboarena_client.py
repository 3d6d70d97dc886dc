"""What RoboArena's client does (robo-arena/roboarena 6fa329f), and what its evaluators send, in our own words.

It is on no package index. Its arrays are openpi's, which :mod:`offboard_client.wire` writes to the byte.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from offboard_client.wire import decode, encode
from robots import connect_to
from waits import PATIENCE


@dataclass
class PolicyServerConfig:
    """What the first frame must fit, and hold nothing else."""

    image_resolution: tuple | None
    needs_wrist_camera: bool
    n_external_cameras: int
    needs_stereo_camera: bool
    needs_session_id: bool
    action_space: str


class RoboArenaClient:
    """A host and a port make its address; it waits for the configuration, and then for each answer."""

    def __init__(self, host, port):
        with ExitStack() as stack:
            self.socket = stack.enter_context(connect_to(f"ws://{host}:{port}"))
            self.config = PolicyServerConfig(**decode(self.socket.recv(timeout=PATIENCE)))
            self._open = stack.pop_all()

    def infer(self, observation):
        observation["endpoint"] = "infer"
        self.socket.send(encode(observation))
        reply = self.socket.recv(timeout=PATIENCE)
        if isinstance(reply, str):
            raise RuntimeError(f"Error in inference server:\n{reply}")
        return decode(reply)

    def reset(self, info):
        info["endpoint"] = "reset"
        self.socket.send(encode(info))
        return self.socket.recv(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self._open.__exit__(*raised)


def evaluators(config, session=None, first=1, **changes):
    """An observation as the configuration wants it. The robots count cameras from 1, RoboArena's own code from 0."""
    random = np.random.default_rng(0)

    def picture():
        return random.integers(0, 256, (288, 512, 3), np.uint8)

    seen = {
        "observation/joint_position": np.array([0.1, -0.2, 0.3, -1.4, 0.5, 1.6, 0.7]),
        "observation/cartesian_position": np.array([0.4, 0.0, 0.3, 3.1, 0.0, 0.1]),
        "observation/gripper_position": np.array([0.3]),
        "prompt": "put the cup on the plate",
    }
    for camera in range(config.n_external_cameras):
        seen[f"observation/exterior_image_{first + camera}_left"] = picture()
    if config.needs_wrist_camera:
        seen["observation/wrist_image_left"] = picture()
    if config.needs_session_id and session is not None:
        seen["session_id"] = session
    return seen | changes
