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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside_lerobot import FPS, MOTORS, STEPS, TURNED, RTCPuppet, install, motors, native, onward, served
from offboard_core import Chunk
from puppets import Puppet, until

OLD = importlib.metadata.version("lerobot").startswith("0.4.")
#: Where the leader is held.
HELD = 42.0
START = dict.fromkeys((f"{name}.pos" for name in MOTORS), 10.0) | {"gripper.pos": 60.0}
pytestmark = pytest.mark.slow
Text = Callable[[], str]
#: Who presses keys: told how, what the command says, what the robot was sent, and whether the command has ended.
Operator = Callable[[Callable[[bytes], object], Text, Text, Callable[[], object]], None]


@pytest.fixture
def lerobot(tmp_path: Path) -> Any:
    """Runs one of LeRobot's commands to its end: its exit code, what it said, and what the robot was sent."""
    site = tmp_path / "site"
    install(site)
    log = tmp_path / "sent"

    def run(command: str, *words: str, operator: Operator | None = None) -> tuple[int, str, list[Any]]:
        log.write_text("")
        environment = {
            **os.environ, "HF_LEROBOT_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        for display in ("DISPLAY", "WAYLAND_DISPLAY"):  # else it would listen to that one's keyboard
            environment.pop(display, None)
        program = f"from lerobot.scripts.lerobot_{command} import main; main()"
        said, (keyboard, terminal) = tmp_path / "said", os.openpty()
        try:
            with said.open("w") as out, subprocess.Popen(
                [sys.executable, "-c", program, *words], env=environment, cwd=tmp_path, stdin=terminal, stdout=out,
                stderr=subprocess.STDOUT,
            ) as process:  # fmt: skip
                try:
                    if operator is not None:
                        operator(lambda key: os.write(keyboard, key), said.read_text, log.read_text, process.poll)
                    process.wait(500)
                finally:
                    process.kill()
        finally:
            os.close(keyboard)
            os.close(terminal)
        return process.returncode, said.read_text(), log.read_text().splitlines()

    def of_the_arm(
        server: Any, *words: str, operator: Operator | None = None
    ) -> tuple[int, str, list[dict[str, float]]]:
        robot = ["--robot.type=trial_arm", f"--robot.log={log}", "--play_sounds=false"]
        policy = ["--policy.type=offboard", f"--policy.url=127.0.0.1:{server.port}"]
        if OLD:
            kept = ["--dataset.repo_id=me/eval_trial", f"--dataset.root={tmp_path / 'set'}", "--dataset.fps=30"]
            kept += ["--dataset.single_task=reach", "--dataset.num_episodes=2", "--dataset.episode_time_s=2"]
            kept += ["--dataset.reset_time_s=0", "--dataset.push_to_hub=false", "--dataset.vcodec=h264"]
            code, said, sent = run("record", *robot, *policy, *kept, *words, operator=operator)
        else:
            kept = ["--task=reach", "--duration=4", "--return_to_initial_position=false", f"--policy.fps={FPS:g}"]
            code, said, sent = run("rollout", *robot, *policy, *kept, *words, operator=operator)
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


@pytest.mark.skipif(OLD, reason="LeRobot 0.4's commands have no strategies")
def test_who_corrects_a_rollout_is_followed_and_the_model_begins_anew_after_that(lerobot):
    """Keys are pressed at a terminal: pause, correct, correct no more, go on, and end it."""

    def operator(press: Callable[[bytes], object], said: Text, sent: Text, ended: Callable[[], object]) -> None:
        def moved() -> bool:
            return sent().count("\n") >= before + STEPS or ended() is not None

        for key, then in (
            (b" ", "autonomous -> paused"), (b"\t", "paused -> correcting"), (b"\t", "correcting -> paused"),
            (b" ", "paused -> autonomous"), (b"\x1b", "Stopping DAgger recording"),
        ):  # fmt: skip
            before = sent().count("\n")
            until(moved, f"the arm moves, before {then}")
            press(key)
            until(lambda then=then: then in said() or ended() is not None, then)

    def far(episode: Any, inputs: Any) -> Chunk:
        """So far that something is left of it when the arm is led elsewhere."""
        return Chunk({"target_motors": inputs["motors"] + np.arange(1, 2001, dtype=np.float32)[:, None] / 10})

    puppet = Puppet(far)
    with served(puppet.answer, motors(), puppet=puppet) as server:
        code, said, lines = lerobot.of_the_arm(
            server, "--strategy.type=dagger", "--strategy.num_episodes=9", "--strategy.smooth_handover=false",
            "--teleop.type=trial_lead", "--dataset.repo_id=me/rollout_trial", "--dataset.push_to_hub=false",
            f"--dataset.root={lerobot.folder / 'set'}", "--dataset.rgb_encoder.vcodec=h264",
            "--dataset.single_task=reach", "--dataset.fps=30", "--duration=400", operator=operator,
        )  # fmt: skip
    assert code == 0, said
    pans = [action["shoulder_pan.pos"] for action in lines]
    first, last = pans.index(HELD), len(pans) - 1 - pans[::-1].index(HELD)
    assert set(pans[first : last + 1]) == {HELD}, "nobody else drives meanwhile, and it holds when that is over"
    ran = np.unique(pans[:first])  # while it is paused it is sent its last place again
    np.testing.assert_allclose(ran, 10 + np.arange(1, len(ran) + 1) / 10, atol=1e-3)
    # From where it was led to, a tenth farther each time: nothing of what was answered before that.
    np.testing.assert_allclose(pans[last + 1 :], HELD + np.arange(1, len(pans) - last) / 10, atol=1e-3)
    info = json.loads((lerobot.folder / "set" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == 1
    (session,) = (episode for episode in puppet.episodes if episode.seen)
    assert len(session.seen) < len(puppet.batches), "after the correction it is another episode of the model's"


def test_environments_are_evaluated_side_by_side(lerobot):
    with served(onward("observation.state", "action"), native(), max_batch_size=3) as server:
        code, said, sent = lerobot.evaluated(server)
    assert code == 0, said
    assert len(sent) == 60
    np.testing.assert_allclose(sent[:, 6:], sent[:, :6] + 0.1, atol=1e-4)
