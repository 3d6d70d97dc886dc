"""From recordings to an evaluated policy, as ``examples/sim_stack`` has it: in small, and as it is in the slow lane."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from offboard_client import InferenceClient
from offboard_client.errors import InvalidAction
from offboard_client.evaluation import fixed_interval
from offboard_client.robots import connected
from offboard_client.robots.sim import SimOptions, SimRobot, Stacking, make_sim
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_process import in_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "sim_stack" / "run.sh"
#: Successes of 20: of a policy that succeeds four times in five fewer come once in two thousand trainings' evaluations;
#: one that has learnt nothing has none. It was 17 over the socket.
FLOOR = 10
#: Of a loop that shows how its parts fit, and not that the policy learns.
SMALL = {
    "--episodes": "1", "--num-train-steps": "2", "--save_freq": "2", "--batch_size": "2", "--num_workers": "0",
    "--scheduler.num_warmup_steps": "1",
}  # fmt: skip


def commands() -> list[list[str]]:
    """What the example has `offboard` do, with {folder} for its folder: record, convert, train, serve, evaluate."""
    text = EXAMPLE.read_text("utf-8").replace("\\\n", " ").replace('"$folder/', '"{folder}/')
    found = re.findall(r"\boffboard ((?:run|convert|train|serve|evaluate) .*)$", text, re.MULTILINE)
    return [shlex.split(each.partition(" || ")[0]) for each in found]


RECORD, CONVERT, TRAIN, _, EVALUATE = commands()


def said(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


ARM = SimOptions(image_size=int(said(EVALUATE, "--image-size")), spread=float(said(EVALUATE, "--spread")))
SECONDS = float(said(EVALUATE, "--seconds"))


def in_small(command: list[str]) -> list[str]:
    """``--name value``, with the values of SMALL."""
    return [SMALL.get(before, word) for before, word in zip(["", *command], command, strict=False)]


def make(folder: Path, change: Callable[[list[str]], list[str]]) -> Path:
    """Demonstrations, a data set and a checkpoint below ``folder``."""
    for command in (RECORD, CONVERT, TRAIN):
        words = [word.replace("{folder}", str(folder)) for word in change(command)]
        done = in_process(*words, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
        assert done.returncode == 0 or command is RECORD, done.stderr  # some demonstrations may fail
    return folder


def newest(made: Path) -> Path:
    """The last step's folder."""
    return max((made / "run" / "checkpoints").glob("[0-9]*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example makes of one demonstration and two steps, which answers near the middle of what it was shown."""
    folder = make(tmp_path_factory.mktemp("sim_stack"), in_small)
    weights = newest(folder) / "pretrained_model" / "model.safetensors"
    tensors = safetensors.numpy.load_file(weights)
    tensors["model.action_head.weight"] *= 0.1  # a grip of a model that has learnt nothing may be refused
    safetensors.numpy.save_file(tensors, weights)
    return folder


@contextmanager
def served(made: Path) -> Iterator[str]:
    source = from_flags(Plugins.discover(), checkpoints_dir=str(made / "run"), loader_options={"device": "cpu"})
    with InferenceServer({"": source}, port=0) as server:
        yield f"{server.host}:{server.port}"


@pytest.fixture(scope="module")
def address(made: Path) -> Iterator[str]:
    """Where that is served, by what stands beside the checkpoint alone."""
    with served(made) as address:
        yield address


def evaluated(address: str, folder: Path, *words: str) -> Any:
    return in_process("evaluate", "sim", address, *EVALUATE[3:-2], *words, "--output-dir", folder)


class Alone:
    """LeRobot's own policy in this process, and nothing of offboard's but the simulation and the names of numbers."""

    def __init__(self, made: Path) -> None:
        from lerobot.policies.act.modeling_act import ACTPolicy
        from lerobot.policies.factory import make_pre_post_processors

        folder = newest(made) / "pretrained_model"
        self.policy = ACTPolicy.from_pretrained(folder).eval()
        self._before, self._after = make_pre_post_processors(self.policy.config, pretrained_path=str(folder))

    def rows(self, seen: dict[str, Any]) -> np.ndarray:
        """(T, 8) float32: pose and grip, as the model was trained on them."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        state = np.concatenate([seen["robot_state.ee_pose"], seen["grip"]]).astype(np.float32)
        given = {"observation.state": state, "observation.images.left": seen["image.wrist"].copy()}
        with torch.no_grad():
            inputs = self._before(prepare_observation_for_inference(given, torch.device("cpu"), task=seen["task"]))
            return self._after(self.policy.predict_action_chunk(inputs))[0].numpy()

    def succeeds(self, robot: SimRobot, seed: int) -> bool:
        """An episode, chunk after chunk; one that the arm refuses has failed."""
        task = Stacking(robot)
        task.reset(seed)
        while robot.time < SECONDS:
            for row in self.rows(robot.observe() | {"task": task.instruction}).astype(np.float64):
                pose = np.concatenate([row[:3], row[3:7] / np.linalg.norm(row[3:7])])
                try:
                    robot.apply({"target_pose": pose, "target_grip": row[7:]}, 1 / 15)
                except InvalidAction:
                    return False
        return task.succeeded()


def test_demonstrations_and_evaluations_begin_from_other_starts() -> None:
    assert int(said(RECORD, "--seed")) > 1000
    assert "--seed" not in EVALUATE  # it counts from 0


def test_the_student_sees_a_camera_and_the_arms_own_state_alone(made: Path) -> None:
    features = json.loads((made / "data" / "meta" / "info.json").read_text())["features"]
    assert {name for name in features if name.startswith(("observation", "action"))} == {
        "observation.state", "observation.images.left", "action",
    }  # fmt: skip
    assert features["observation.state"]["shape"] == features["action"]["shape"] == [8]


@pytest.mark.parametrize(
    ("codec", "why"),
    [
        (["lerobot.ee", "--codec.map", "sim.objects.red_cube=cube"], "would be trained on sim.objects.red_cube, which"),
        (
            ["scripted"],
            "would be trained on sim.objects.blue_cube, sim.objects.green_cube, sim.objects.red_cube, which",
        ),
    ],
)
def test_where_the_cubes_are_goes_into_no_data_set(codec: list[str], why: str, made: Path) -> None:
    refused = in_process("convert", made / "recordings", "--output-dir", made / "seeing", "--codec", *codec)
    assert refused.returncode == 1
    assert why in refused.stderr
    assert not (made / "seeing").exists()


def test_the_loop_runs_to_its_report(address: str, tmp_path: Path) -> None:
    done = evaluated(address, tmp_path / "e", "--episodes", "1", "--seconds", "1.5")
    assert done.returncode == 0, done.stderr
    [trial] = json.loads((tmp_path / "e" / "report.json").read_text())["trials"]
    assert trial["outcome"] in ("success", "fail", "stall")  # and no error: the model was asked, and it answered
    assert (tmp_path / "e" / "report.html").exists()


def test_what_the_arm_is_sent_is_lerobots_own_answer_to_the_bit(made: Path, address: str) -> None:
    alone = Alone(made)
    with connected(make_sim(ARM)) as robot:
        host, _, port = address.rpartition(":")
        with InferenceClient(host, int(port)) as client, client.new_session() as session:
            assert session.metadata["codec"] == "lerobot.ee"
            for seed in range(3):
                robot.reset(seed)
                seen = robot.observe() | {"task": Stacking(robot).instruction}
                answered = [row["action"] for row in session.infer(seen)]
                expected = alone.rows(seen)
                pose = np.array([each["target_pose"] for each in answered])
                assert len(pose) == len(expected) == alone.policy.config.chunk_size
                np.testing.assert_array_equal(pose[:, :3], expected[:, :3])
                np.testing.assert_array_equal([each["target_grip"] for each in answered], expected[:, 7:])
                turned = expected[:, 3:7].astype(np.float64)
                np.testing.assert_allclose(
                    pose[:, 3:], turned / np.linalg.norm(turned, axis=1, keepdims=True), rtol=0, atol=1e-15
                )


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_it_learns_and_succeeds_as_often_without_offboard(tmp_path: Path) -> None:
    """The example as it is, half an hour on two cores: from unseen starts, over the socket and in this process."""
    make(tmp_path, list)
    with served(tmp_path) as address:
        done = evaluated(address, tmp_path / "e", "--no-record", "--models", newest(tmp_path).name)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "e" / "report.json").read_text())
    over_the_socket = [trial["outcome"] for trial in report["trials"]].count("success")
    alone = Alone(tmp_path)
    with connected(make_sim(ARM)) as robot:
        by_itself = sum(alone.succeeds(robot, seed) for seed in range(20))
    low, high = fixed_interval(over_the_socket, 20)
    assert low <= by_itself / 20 <= high
    assert min(over_the_socket, by_itself) >= FLOOR
