"""Both LeRobots on one port of one server, each answering what its LeRobot plays, to the bit. Minutes, and 20 GB."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import lerobot_alone
import numpy as np
import pytest
from lerobot_alone import NUMBERS, TASK
from lerobot_checkpoints import model_inputs
from offboard_client import InferenceClient
from offboard_core.environments import choose, made, make, place_of, remove
from offboard_core.plugins import Plugins
from offboard_process import killed_if_it_hangs

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import pythons  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """A cache of offboard's own, the Pythons of this machine, and uv as its user has set it. Never skipped."""
    place = tmp_path_factory.mktemp("both")
    found = [pythons.find(version) for version in ("3.11", "3.12")]
    assert all(found), "a Python 3.11 and a 3.12 are needed here: what only these prove would not be proved"
    with pytest.MonkeyPatch.context() as patch:
        folders = [str(Path(python).resolve().parent) for python in found]
        patch.setenv("PATH", os.pathsep.join([*folders, os.environ["PATH"]]))
        patch.setenv("UV_PYTHON_DOWNLOADS", "never")
        patch.setenv("OFFBOARD_CACHE", str(place / "cache"))
        patch.setenv("HF_HUB_CACHE", str(place / "hub"))
        yield place


@pytest.fixture(scope="module")
def new(surroundings):
    """The Python of an environment with LeRobot 0.6.1, which offboard makes."""
    offer = choose(Plugins.discover(), "lerobot-0.6")
    python = make(offer, print)
    assert made(place_of(offer)).python.startswith("3.12.")
    yield python
    remove(place_of(offer))


def wrote(python, place, name, kind):
    """A checkpoint that the LeRobot of this Python writes: its folder, its type, and what the same LeRobot plays."""
    lerobot_alone.run(python, "save", place / "hub", kind, place / name)
    lerobot_alone.run(python, "play", place / "hub", kind, place / name, place / f"{name}.npy")
    return place / name, kind, np.load(place / f"{name}.npy")


@pytest.fixture(scope="module")
def written(surroundings, new):
    """By each LeRobot itself, by name."""
    found = {
        "new_dit": wrote(new, surroundings, "new_dit", "multi_task_dit"),
        "new_vla": wrote(new, surroundings, "new_vla", "smolvla"),
        "new_act": wrote(new, surroundings, "new_act", "act"),
        "old_act": wrote(sys.executable, surroundings, "old_act", "act"),
        "old_sac": wrote(sys.executable, surroundings, "old_sac", "sac"),
    }
    assert "pretrained_revision" in (surroundings / "new_act" / "config.json").read_text()
    assert "pretrained_revision" not in (surroundings / "old_act" / "config.json").read_text()
    assert not np.array_equal(found["new_act"][2], found["old_act"][2]), "one would be taken for the other"
    return found


@contextlib.contextmanager
def served(python, log, *arguments):
    """``offboard serve`` of the installation that this Python is of: a client. Its log goes to ``log``."""
    command = [Path(python).with_name("offboard"), "serve", *arguments, "--port", "0", "--json"]
    with log.open("w") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process:
        try:
            with killed_if_it_hangs(process):
                line = process.stdout.readline()
            assert line, log.read_text()
            with InferenceClient("127.0.0.1", json.loads(line)["port"]) as client:
                yield client
        finally:
            process.terminate()
            with killed_if_it_hangs(process):
                process.wait()


def answers(client, model, kind):
    """Of the model, for each observation that LeRobot played."""
    with client.new_session(model) as session:
        draws = "seed" in session.metadata["context"]
        chunks = []
        for number in NUMBERS:
            session.reset()
            seed = {"offboard.seed": number} if draws else {}
            rows = session.infer({**model_inputs(number, kind), "task": TASK, **seed})
            chunks.append([row["action"]["action"] for row in rows])
    return np.array(chunks)


def assert_each_answers_as_its_lerobot(client, models):
    """``models``: id → what was written. They are asked to and fro."""
    for model in [*models, *reversed(models)]:
        _, kind, played = models[model]
        found = answers(client, model, kind)[:, : played.shape[1]]
        np.testing.assert_array_equal(found, played, err_msg=model)


def models_toml(file, models, **envs):
    """A file that says of each model which environment it gets."""
    file.write_text(
        "".join(
            f'[{name}]\nvendor = "lerobot"\ncheckpoints_dir = {json.dumps(str(models[name][0]))}\nenv = "{env}"\n'
            for name, env in envs.items()
        )
    )
    return str(file)


def count(log, text):
    return log.read_text().count(text)


def placed(log, name, environment, why="it does not fit what is installed here"):
    """How often the server has said so, with where the checkpoint lies."""
    said = rf"\b{name} \([^()]*\) is served in the environment {re.escape(environment)}, for {why}"
    return len(re.findall(said, log.read_text()))


class TestOnPython3_11With0_4_4:
    """The workspace's own server."""

    def test_a_file_says_what_each_runs_in(self, written, tmp_path):
        envs = {"old_act": "auto", "new_act": "lerobot-0.6", "new_dit": "auto", "new_vla": "auto"}
        written = {**written, "old_act_there": written["old_act"]}
        envs["old_act_there"] = "lerobot-0.6"
        file = models_toml(tmp_path / "models.toml", written, **envs)
        log = tmp_path / "log"
        with served(sys.executable, log, file) as client:
            assert_each_answers_as_its_lerobot(client, {name: written[name] for name in envs})
        assert count(log, "lerobot's worker is process ") == count(log, ", of Python 3.12.") == 7, "to and fro"
        assert placed(log, "new_dit", "lerobot-0.6") == 2

    def test_auto_looks_at_each_checkpoint_of_a_run(self, written, tmp_path):
        run = tmp_path / "run" / "checkpoints"
        run.mkdir(parents=True)
        models = {"000100": written["old_act"], "000200": written["new_act"], "000300": written["new_dit"]}
        for name, (folder, _, _) in models.items():
            (run / name).mkdir()
            (run / name / "pretrained_model").symlink_to(folder)
        log = tmp_path / "log"
        with served(sys.executable, log, "--checkpoints-dir", str(run.parent), "--env", "auto") as client:
            assert_each_answers_as_its_lerobot(client, models)
        workers = count(log, "lerobot's worker is process ")
        assert workers == placed(log, "000300", "lerobot-0.6") == 2, "0.4.4 reads both ACT"


def test_on_python_3_12_with_0_6_1_in_process_and_0_4_4_in_a_worker(written, surroundings, tmp_path):
    """The server is what a user installs: the extra brings the LeRobot of this Python."""
    venv = tmp_path / "server"
    install = ["uv", "pip", "install", "-q", "--python", str(venv)]
    packages = ("offboard-client[cli,images]", "offboard-core", "offboard-lerobot[lerobot]")
    for command in (
        ["uv", "venv", "-q", "-p", "3.12", str(venv)],
        [*install, *(f"{ROOT / package}" for package in packages)],
    ):  # elsewhere than in the workspace, whose pins would apply
        subprocess.run(command, cwd=tmp_path, check=True)
    python = venv / "bin" / "python"
    models = {"new_act": wrote(python, surroundings, "new_act_here", "act"), "old_sac": written["old_sac"]}
    file = models_toml(tmp_path / "models.toml", models, **dict.fromkeys(models, "auto"))
    log = tmp_path / "log"
    try:
        with served(python, log, file) as client:
            assert_each_answers_as_its_lerobot(client, models)
    finally:
        remove(place_of(choose(Plugins.discover(), "lerobot-0.4")))
    assert count(log, "lerobot's worker is process ") == count(log, ", of Python 3.11.") == 1
    assert placed(log, "old_sac", "lerobot-0.4")
