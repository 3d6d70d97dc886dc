"""A checkpoint that is another one by the time GR00T is started, or started again, is no model that anybody listed."""

import contextlib
import json
import os
import shutil
import signal
import time

import numpy as np
import psutil
import pytest
from gr00t_standin import SIZE, STATE, STEPS, VIDEO, options, write_checkpoint, write_run
from offboard_client.errors import ConfigurationError, LoadFailed, ModelLost, PolicyFailed
from offboard_client.plugins import build
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE, NO_CONTEXT
from offboard_gr00t.loader import GR00TLoader
from offboard_gr00t.options import GR00TOptions
from offboard_gr00t.registry import GR00TRegistry
from waits import PATIENCE

INPUTS = {
    **{f"video.{name}": np.zeros((*SIZE[::-1], 3), np.uint8) for name in VIDEO},
    **{f"state.{name}": np.zeros(width, np.float32) for name, width in STATE.items()},
    "task": "pick up the cube",
}


def load(step, report=lambda _: None, **more):
    [checkpoint] = GR00TRegistry(str(step)).checkpoints()
    loader = GR00TLoader(build(GR00TOptions, options(**more), "the vendor gr00t", ConfigurationError))
    return loader.load(checkpoint, report)


def replace(step):
    """The same bytes, written anew: only who looks at the file sees it."""
    weights = step / "model-00001-of-00001.safetensors"
    fresh = weights.with_name("new")
    fresh.write_bytes(weights.read_bytes())
    os.replace(fresh, weights)


def serving(step):
    """The processes that serve it."""
    for process in psutil.Process().children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:  # it ended just now
            continue
        if len(command) > 1 and command[1].endswith("run_gr00t_server.py") and str(step) in command:
            yield process.pid


def until_it_is_lost(session):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(PolicyFailed):  # it is being restarted
            session.infer(INPUTS, NO_CONTEXT)


def test_a_checkpoint_that_changes_while_gr00t_starts_is_not_served(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7")
    said = []

    def report(text):
        if not said:
            replace(step)
        said.append(text)

    with pytest.raises(LoadFailed, match="was written to since its load began"):
        load(step, report)
    assert said
    assert list(serving(step)) == [], "what was started for it is stopped"


@pytest.mark.parametrize(
    ("generation", "change", "record", "says"),
    [
        ("n1.6", {"action_configs": STEPS}, {}, "its representations differ"),
        ("n1.7", {"horizon": 8}, {}, "its chunk_length differ"),
        ("n1.5", {"state": {**STATE, "torso": 3}}, {}, "its inputs differ"),
        ("n1.6", {}, {"codec": "gr00t.native"}, "its recorded differ"),
    ],
)
def test_a_checkpoint_that_was_written_anew_since_it_was_listed_is_not_served_by_what_was_listed(
    tmp_path, generation, change, record, says
):
    """Steps were played as poses: the codec was chosen for what had been there."""
    run = write_run(tmp_path / "run", {7: 0.5}, generation)
    found = from_flags(
        Plugins.discover(),
        vendor="gr00t",
        codec="ee_quat",
        checkpoints_dir=str(run),
        loader_options=options(generation),
    )
    listed = found.default()
    shutil.rmtree(run / "checkpoint-7")
    write_checkpoint(run / "checkpoint-7", generation, **change)
    (run / "checkpoint-7" / "offboard.json").write_text(json.dumps(record))
    with pytest.raises(LoadFailed, match=f"was replaced since it was listed: {says}. Ask for it by its id") as caught:
        found.loader.load(listed, lambda _: None, ALONE)
    assert not caught.value.permanent, "who names it has its codec chosen anew"


def test_gr00t_is_not_restarted_with_another_model(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7")
    policy = load(step, restarts=1)
    try:
        session = policy.new_session(policy.params())
        assert len(session.infer(INPUTS, NO_CONTEXT)) == 16
        replace(step)
        [pid] = serving(step)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ModelLost, match="was written to since its load began"):
            until_it_is_lost(session)
    finally:
        policy.close()


SECRETS = {"OFFBOARD_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GR00T_API_TOKEN"}


@pytest.mark.parametrize("more", [{}, {"gr00t_env": ["HF_TOKEN"]}])
def test_gr00t_gets_its_own_variables_and_no_secret_but_those_that_are_named(tmp_path, monkeypatch, more):
    needed = {"HF_HOME", "TRANSFORMERS_CACHE", "CUDA_VISIBLE_DEVICES"}
    for name in (*SECRETS, *needed, "PYTHONPATH"):
        monkeypatch.setenv(name, str(tmp_path))
    program = tmp_path / "tell.py"
    program.write_text(
        f"import json, os\njson.dump(sorted(os.environ), open({str(tmp_path / 'seen')!r}, 'w'))\nraise SystemExit(3)\n"
    )
    with pytest.raises(LoadFailed, match="exited with code 3"):
        load(
            write_checkpoint(tmp_path / "checkpoint-7"), gr00t_command=f"{options()['gr00t_command']} {program}", **more
        )
    seen = set(json.loads((tmp_path / "seen").read_text()))
    assert seen >= needed
    assert seen & {*SECRETS, "PYTHONPATH"} == set(more.get("gr00t_env", ()))
