"""LeRobot's own commands, each a process of its own, with a policy that a server plays: on a third party's robot.

Which commands there are is a matter of LeRobot's version. How many actions a second has is the machine's affair: what
is looked at is which they are.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside_lerobot import FPS, MOTORS, STEPS, TURNED, RTCPuppet, install, motors, native, onward, served
from offboard_core import Chunk
from puppets import Puppet

OLD = importlib.metadata.version("lerobot").startswith("0.4.")
START = dict.fromkeys((f"{name}.pos" for name in MOTORS), 10.0) | {"gripper.pos": 60.0}
pytestmark = pytest.mark.slow


@pytest.fixture
def lerobot(tmp_path: Path) -> Any:
    """Runs one of LeRobot's commands to its end: its exit code, what it said, and what the robot was sent."""
    site = tmp_path / "site"
    install(site)
    log = tmp_path / "sent"

    def run(command: str, *words: str) -> tuple[int, str, list[Any]]:
        log.write_text("")
        environment = {
            **os.environ, "HF_LEROBOT_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        program = f"from lerobot.scripts.lerobot_{command} import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *words], env=environment, cwd=tmp_path, timeout=500, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout, log.read_text().splitlines()

    def of_the_arm(server: Any, *words: str) -> tuple[int, str, list[dict[str, float]]]:
        robot = ["--robot.type=trial_arm", f"--robot.log={log}", "--play_sounds=false"]
        policy = ["--policy.type=offboard", f"--policy.url=127.0.0.1:{server.port}"]
        if OLD:
            kept = ["--dataset.repo_id=me/eval_trial", f"--dataset.root={tmp_path / 'set'}", "--dataset.fps=30"]
            kept += ["--dataset.single_task=reach", "--dataset.num_episodes=2", "--dataset.episode_time_s=2"]
            kept += ["--dataset.reset_time_s=0", "--dataset.push_to_hub=false", "--dataset.vcodec=h264"]
            code, said, sent = run("record", *robot, *policy, *kept, *words)
        else:
            kept = ["--task=reach", "--duration=4", "--return_to_initial_position=false", f"--policy.fps={FPS:g}"]
            code, said, sent = run("rollout", *robot, *policy, *kept, *words)
        return code, said, [json.loads(line) for line in sent]

    def evaluated(server: Any, *words: str) -> tuple[int, str, np.ndarray]:
        kept = ["--env.type=trial_env", f"--env.log={log}", f"--output_dir={tmp_path / 'evaluated'}"]
        kept += ["--eval.n_episodes=3", "--eval.batch_size=3", "--eval.use_async_envs=false"]
        policy = ["--policy.type=offboard", f"--policy.url=127.0.0.1:{server.port}"]
        code, said, sent = run("eval", *kept, *policy, *words)
        return code, said, np.array([list(map(float, line.split())) for line in sent])

    run.of_the_arm, run.evaluated, run.folder = of_the_arm, evaluated, tmp_path  # type: ignore[attr-defined]
    return run


def assert_on_its_way(sent: list[dict[str, float]]) -> None:
    """Each motor went a tenth farther with each action, from where it stood: nothing was left out or exchanged."""
    assert sent
    for number, action in enumerate(sent, 1):
        assert action == pytest.approx({name: at + number / 10 for name, at in START.items()}, abs=1e-3)


def test_an_arm_goes_where_the_servers_model_says_by_its_motors_names(lerobot):
    with served(onward("motors", "target_motors"), motors(TURNED)) as server:
        code, said, sent = lerobot.of_the_arm(server)
    assert code == 0, said
    assert_on_its_way(sent)
    assert len(sent) > STEPS
    if OLD:
        info = json.loads((lerobot.folder / "set" / "meta" / "info.json").read_text())
        assert (info["total_episodes"], info["total_frames"]) == (2, len(sent))


def test_a_model_that_fails_ends_the_command_and_sends_nothing(lerobot):
    good = onward("motors", "target_motors")

    def answer(episode: Any, inputs: Any) -> Chunk:
        if len(episode.seen) > 1:
            return Chunk({"target_motors": np.full((2, 6), np.nan, np.float32)})
        return good(episode, inputs)

    with served(answer, motors()) as server:
        code, said, sent = lerobot.of_the_arm(server)
    assert code != 0
    assert "InvalidAction" in said
    assert len(sent) == STEPS
    assert_on_its_way(sent)


def test_what_does_not_fit_is_refused_before_the_arm_moves(lerobot):
    with served(onward("motors", "target_motors"), motors(("wheel", *MOTORS[:5]))) as server:
        code, said, sent = lerobot.of_the_arm(server)
    assert code != 0
    assert "needs motors, and LeRobot has observation.state (6)" in said
    assert not sent


@pytest.mark.skipif(OLD, reason="LeRobot 0.4's commands have none of it")
def test_a_rollout_with_real_time_chunking_goes_on_where_it_is(lerobot):
    puppet = RTCPuppet()
    with served(puppet.answer, motors(), puppet=puppet) as server:
        code, said, sent = lerobot.of_the_arm(
            server, "--inference.type=rtc", "--inference.queue_threshold=6", "--inference.rtc.execution_horizon=10"
        )
    assert code == 0, said
    # LeRobot leaves out what it takes to be late, and of a queue that ran empty the beginning of the next chunk.
    pans = np.array([action["shoulder_pan.pos"] for action in sent])
    steps = np.diff(pans) / 0.1
    np.testing.assert_allclose(steps, np.rint(steps), atol=0.01)
    assert steps.min() > 0.5
    prefixes = [told.prefix.columns()["target_motors"] for told in puppet.told if told.prefix is not None]
    assert any(told.delay_steps for told in puppet.told)
    assert min(map(len, prefixes)) < 10, "LeRobot fills them up with zeros, to ten"
    for prefix in prefixes:
        assert prefix.min() > 9
        np.testing.assert_allclose(np.diff(prefix, axis=0), 0.1, atol=1e-3)


@pytest.mark.skipif(OLD, reason="LeRobot 0.4's commands have no strategies")
@pytest.mark.parametrize(
    ("strategy", "words", "episodes"),
    [
        ("sentry", (), 1),
        # Nobody presses the key that keeps what was seen last.
        ("highlight", ("--dataset.streaming_encoding=true",), 0),
        (
            "episodic",
            ("--dataset.num_episodes=2", "--dataset.episode_time_s=2", "--dataset.reset_time_s=0",
             "--strategy.reset_to_initial_position=false"),
            2,
        ),
    ],
)  # fmt: skip
def test_a_rollout_is_recorded(lerobot, strategy, words, episodes):
    puppet = Puppet(onward("motors", "target_motors"))
    with served(puppet.answer, motors(), puppet=puppet) as server:
        code, said, sent = lerobot.of_the_arm(
            server, f"--strategy.type={strategy}", "--dataset.repo_id=me/rollout_trial", "--dataset.push_to_hub=false",
            f"--dataset.root={lerobot.folder / 'set'}", "--dataset.rgb_encoder.vcodec=h264",
            "--dataset.single_task=reach", "--dataset.fps=30", *words,
        )  # fmt: skip
    assert code == 0, said
    assert_on_its_way(sent)
    info = json.loads((lerobot.folder / "set" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == episodes
    (session,) = (episode for episode in puppet.episodes if episode.seen)
    begun_anew = len(session.seen) < len(puppet.batches)
    assert begun_anew == (strategy == "episodic"), "each episode of LeRobot's is one of the model's"


def test_environments_are_evaluated_side_by_side(lerobot):
    with served(onward("observation.state", "action"), native(), max_batch_size=3) as server:
        code, said, sent = lerobot.evaluated(server)
    assert code == 0, said
    assert len(sent) == 60
    np.testing.assert_allclose(sent[:, 6:], sent[:, :6] + 0.1, atol=1e-4)
