"""The real vla-eval 0.8 against our server: its client, its runners, and its LIBERO with a world of our own."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
from offboard_core import InferenceServer
from offboard_core.frontends import make_frontends
from offboard_core.plugins import Plugins
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.benchmarks.libero.benchmark import LIBEROBenchmark
from vla_eval.connection import Connection
from vla_eval.recording import NullEpisodeRecorder
from waits import PATIENCE


def speaking(*sources, codec=None, chunk_size=None, **more):
    """A server that speaks vla-eval's protocol."""
    frontends = make_frontends(Plugins.discover(), {"vla-eval": {"codec": codec, "chunk_size": chunk_size}})
    return InferenceServer({f"m{i}": one for i, one in enumerate(sources)}, port=0, frontends=frontends, **more)


def url(server, query=""):
    return f"ws://{server.host}:{server.port}/vla-eval{query}"


@asynccontextmanager
async def shard(server, query="", benchmark=None):
    """vla-eval's own client, connected."""
    connection = Connection(url(server, query), timeout=PATIENCE, max_retries=1)
    try:
        await connection.connect(benchmark=benchmark)
        yield connection
    finally:
        await connection.close()


def run(main):
    return asyncio.run(asyncio.wait_for(main, 2 * PATIENCE))


async def when(true):
    """Until it holds; others' turns are not taken meanwhile."""
    while not true():  # noqa: ASYNC110 (nobody tells of it)
        await asyncio.sleep(0.01)


class Counting(StepBenchmark):
    """Any benchmark: it sends a number and an image, and keeps what it is told to play."""

    def __init__(self, length=7, hold=None):
        super().__init__()
        self.length, self.hold, self.played = length, hold, []

    def get_tasks(self):
        return [{"name": "count"}]

    def reset(self, task):
        self.played.append([])
        return self._observed()

    def step(self, action):
        self.played[-1].append(action["actions"])
        done = len(self.played[-1]) >= self.length
        return StepResult(self._observed(), 0.0, done, {})

    def _observed(self):
        return {"count": len(self.played[-1])}

    def make_obs(self, raw, task):
        return {
            "images": {"primary": np.full((24, 32, 3), raw["count"], np.uint8)},
            "states": np.full(2, float(raw["count"])),
            "task_description": task["name"],
        }

    def get_step_result(self, result):
        return {"success": result.done}

    def get_hold_action(self, last):
        return {"actions": np.asarray(self.hold)}


def rotated(axis, angle):
    """A quaternion x y z w, as robosuite has them."""
    axis = np.asarray(axis, float) / np.linalg.norm(axis)
    return np.append(axis * np.sin(angle / 2), np.cos(angle / 2))


class World:
    """An end effector that goes where robosuite's controller sends it, and two cameras."""

    def __init__(self, start, goal):
        self.position, self.goal, self.closed = np.array(start, float), np.array(goal, float), False
        self.turn, self.actions = rotated([1, 0.2, -0.1], 3.2), []  # as a gripper that points down
        self.pictures = [np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8) for seed in (1, 2)]

    @property
    def robots(self):
        return [SimpleNamespace(controller=SimpleNamespace(ee_pos=self.position, ee_ori_mat=np.eye(3)))]

    def observed(self):
        finger = 0.0 if self.closed else 0.04
        return {
            "agentview_image": self.pictures[0],
            "robot0_eye_in_hand_image": self.pictures[1],
            "robot0_eef_pos": self.position,
            "robot0_eef_quat": self.turn,
            "robot0_gripper_qpos": np.array([finger, -finger]),
        }

    def step(self, action):
        self.actions.append(np.array(action))
        self.position = self.position + 0.05 * np.clip(action[:3], -1, 1)
        self.closed = action[6] > 0
        done = self.closed and bool(np.linalg.norm(self.position - self.goal) < 0.005)
        return self.observed(), float(done), done, {}

    def close(self):
        pass


class Kitchen(LIBEROBenchmark):
    """vla-eval's own LIBERO, but for the simulation: what it sends and how it plays an action is its own."""

    def __init__(self, seed=7, send_wrist_image=False, send_state=False, quat_no_antipodal=False):
        super().__init__(
            "libero_spatial", seed, send_wrist_image=send_wrist_image, send_state=send_state,
            quat_no_antipodal=quat_no_antipodal,
        )  # fmt: skip
        self._recorder = NullEpisodeRecorder()

    def get_tasks(self):
        return [{"name": f"put the bowl on plate {i}", "suite": self.suite, "task_id": i} for i in range(2)]

    def reset(self, task):
        self._env = World([0.1, 0.0, 0.3], [-0.05, 0.1 * task["task_id"], 0.2])
        return self._env.observed()
