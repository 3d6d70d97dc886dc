"""A step that is another one by the time openpi is started, or started again, is no model that anybody listed."""

import contextlib
import os
import shutil
import signal
import time

import numpy as np
import psutil
import pytest
from offboard_client.errors import ConfigurationError, LoadFailed, ModelLost, PolicyFailed
from offboard_client.plugins import build
from offboard_core.types import NO_CONTEXT
from offboard_openpi.loader import OpenPILoader
from offboard_openpi.options import OpenPIOptions
from offboard_openpi.registry import OpenPIRegistry
from openpi_standin import options, write_step
from puppets import PATIENCE

#: What a model of this config reads.
INPUTS = {
    "observation/state": np.zeros(8, np.float32),
    "observation/image": np.zeros((224, 224, 3), np.uint8),
    "observation/wrist_image": np.zeros((224, 224, 3), np.uint8),
    "prompt": "pick up the cube",
    "task": "pick up the cube",
}


def load(step, report=lambda _: None, **more):
    [checkpoint] = OpenPIRegistry(str(step)).checkpoints()
    loader = OpenPILoader(build(OpenPIOptions, options(**more), "the vendor openpi", ConfigurationError))
    return loader.load(checkpoint, report)


def replace(step):
    """The same bytes, written anew: only who looks at the file sees it."""
    weights = step / "params" / "d" / "0123abcd"
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
        if len(command) > 1 and command[1].endswith("serve_policy.py") and str(step) in command:
            yield process.pid


def until_it_is_lost(session):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(PolicyFailed):  # it is being restarted
            session.infer(INPUTS, NO_CONTEXT)


def test_a_step_that_changes_while_openpi_starts_is_not_served(tmp_path):
    step = write_step(tmp_path / "7")
    said = []

    def report(text):
        if not said:
            replace(step)
        said.append(text)

    with pytest.raises(LoadFailed, match="was written to since its load began"):
        load(step, report)
    assert said
    assert list(serving(step)) == [], "what was started for it is stopped"


@pytest.mark.parametrize("what", ["recorded", "asset_ids", "inputs"])
def test_a_step_that_was_written_anew_since_it_was_listed_is_not_served_by_what_was_listed(tmp_path, what):
    step = write_step(tmp_path / "7")
    loader = OpenPILoader(build(OpenPIOptions, options(), "the vendor openpi", ConfigurationError))
    [found] = OpenPIRegistry(str(step)).checkpoints()
    listed = loader.enrich(found)
    if what == "recorded":
        (step / "offboard.json").write_text('{"codec": "openpi.joints"}')
    else:
        shutil.rmtree(step)
        write_step(step, "other" if what == "asset_ids" else "lerobot", width=15 if what == "inputs" else 8)
    with pytest.raises(LoadFailed, match=f"was replaced since it was listed: its {what} differ. Ask for it by its id"):
        loader.load(listed, lambda _: None)


def test_openpi_is_not_restarted_with_another_model(tmp_path):
    step = write_step(tmp_path / "7")
    policy = load(step, restarts=1)
    try:
        session = policy.new_session(policy.params())
        replace(step)
        [pid] = serving(step)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ModelLost, match="was written to since its load began"):
            until_it_is_lost(session)
    finally:
        policy.close()
