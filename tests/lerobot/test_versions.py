"""Checkpoints of other versions of LeRobot: served to the bit, or refused before the server listens."""

import json
import logging
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs, write_files
from offboard_client.errors import LoadFailed
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot.versions import installed, releases
from offboard_process import offboard

#: As each release wrote them for tiny policies of these types. LeRobot's own 0.4.4 reads neither config of 0.6.1.
WRITTEN = {each.name: Path(__file__).parents[1] / "support" / f"lerobot_{each.name}" for each in releases()}


def source(folder):
    return from_flags(Plugins.discover(), checkpoints_dir=str(folder), loader_options={"device": "cpu"})


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def answer(folder, inputs=None):
    import torch

    served = source(folder)
    policy = served.loader.load(served.default(), logging.info)
    try:
        torch.manual_seed(0)
        return policy.new_session(policy.params()).infer(inputs or model_inputs(1), NO_CONTEXT).action
    finally:
        policy.close()


@pytest.fixture(scope="module")
def answers(act, diffusion):
    """Of the checkpoints as the installed LeRobot wrote them."""
    return {"act": answer(act), "diffusion": answer(diffusion)}


@pytest.mark.parametrize("kind", ["act", "diffusion"])
@pytest.mark.parametrize("release", WRITTEN)
def test_what_either_release_wrote_is_served_to_the_bit(kind, release, answers, tmp_path, request):
    folder = shutil.copytree(request.getfixturevalue(kind), tmp_path / "pretrained_model")
    shutil.copytree(WRITTEN[release] / kind, folder, dirs_exist_ok=True)
    assert ("pretrained_revision" in (folder / "config.json").read_text()) == (release == "0.6.1")
    np.testing.assert_array_equal(answer(folder), answers[kind])


def with_neutral_values(folder):
    def config(content):
        content.update(
            invented=None, other=[], third={}, fourth="", pretrained_revision="a1b2", gradient_checkpointing=True
        )
        content["input_features"]["observation.state"]["names"] = None

    def steps(content):
        content["steps"][0]["config"]["invented"] = None
        off = {
            "registry_name": "relative_actions_processor",
            "config": {"enabled": False, "exclude_joints": ["gripper"]},
        }
        content["steps"].insert(1, off)

    change(folder / "config.json", config)
    change(folder / "policy_preprocessor.json", steps)
    change(folder / "policy_postprocessor.json", lambda c: c["steps"].append(
        {"registry_name": "absolute_actions_processor", "config": {"enabled": False}}))  # fmt: skip


def test_what_asks_for_nothing_is_no_reason_to_refuse(act, answers, tmp_path):
    folder = shutil.copytree(act, tmp_path / "pretrained_model")
    with_neutral_values(folder)
    for path in folder.glob("*.json"):  # as some editors save it
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    np.testing.assert_array_equal(answer(folder), answers["act"])


def test_renamed_cameras_are_read_by_the_names_of_the_data_set(act, answers, tmp_path):
    folder = shutil.copytree(act, tmp_path / "pretrained_model")
    top, left, side = (f"observation.images.{name}" for name in ("top", "left", "side"))

    def renamed(content):
        content["steps"][0]["config"]["rename_map"] = {top: left, left: side}

    change(folder / "policy_preprocessor.json", renamed)
    sent = model_inputs(1)
    sent = {"observation.state": sent["observation.state"], top: sent[left], left: sent[side]}
    np.testing.assert_array_equal(answer(folder, sent), answers["act"])


def step(**described):
    return lambda c: c["steps"].append({"registry_name": "normalizer_processor", "config": {}, **described})


CONFIG, BEFORE, AFTER = "config.json", "policy_preprocessor.json", "policy_postprocessor.json"
REFUSED = {
    "a flag": (CONFIG, lambda c: c.update(invented=False), r"the field 'invented' of config\.json \(False\)"),
    "a number": (CONFIG, lambda c: c.update(invented=0.5), r"'invented' of config\.json \(0\.5\)"),
    "a long text": (CONFIG, lambda c: c.update(invented="\x1b[2J" + "x" * 99), r"\('\\x1b\[2Jx{32}\)"),
    "a type": (CONFIG, lambda c: c["input_features"].update(d={"type": "DEPTH", "shape": [1]}), "type 'DEPTH' of d"),
    "a feature": (CONFIG, lambda c: c["output_features"]["action"].update(frame="base"), "'frame' of action"),
    "a mode": (
        CONFIG,
        lambda c: c.update(normalization_mapping={"STATE": "MEDIAN"}),
        "normalization 'MEDIAN' of STATE",
    ),
    "a step": (
        BEFORE,
        step(registry_name="mine"),
        r"the step 'mine' of policy_preprocessor\.json \(here are run: .*device",
    ),
    "an option": (BEFORE, step(config={"clip": 5.0}), "option 'clip' of the step 'normalizer_processor'"),
    "a step's mode": (
        BEFORE,
        step(config={"norm_map": {"STATE": ["MEDIAN"]}}),
        r"normalization \['MEDIAN'\] of STATE in",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_honoured_is_named_with_both_versions_before_anything_is_loaded(tmp_path, why):
    folder = write_files(tmp_path / "m")
    name, edit, text = REFUSED[why]
    change(folder / name, edit)
    with pytest.raises(LoadFailed, match=text) as raised:
        source(folder).default()
    here = version("lerobot")
    assert re.search(rf"was written by .*, this is LeRobot {re.escape(here)}, which does not", raised.value.text)
    assert f"Train it with LeRobot {here}, or" in raised.value.text


NOT_RUN = {
    "ee_bounds_and_safety": r"it belongs to a robot or simulator that LeRobot drives itself\. Take it out of the ",
    "reward_classifier_processor": r"it judges for training what was done\. Take it out of the file: no action depends",
    "robometer_encoder": r"it judges for training",
    "groot_pack_inputs_v3": r"LeRobot 0\.4 copies code .*\. Train a GR00T N1\.7 with LeRobot 0\.6",
}


@pytest.mark.parametrize("name", NOT_RUN)
def test_a_step_that_is_not_run_is_refused_with_the_reason(tmp_path, name):
    """That LeRobot does not know it was said of each, and that another LeRobot's training would help."""
    folder = write_files(tmp_path / "m")
    change(folder / BEFORE, step(registry_name=name, config={"pretrained_path": "org/judge"}))
    with pytest.raises(LoadFailed) as raised:
        source(folder).default()
    said = f"{folder} says the step '{name}' in {BEFORE}, which is not run here: "
    assert re.match(re.escape(said) + NOT_RUN[name], raised.value.text)


def test_actions_that_are_made_absolute_and_never_were_relative_are_refused(tmp_path):
    folder = write_files(tmp_path / "m")
    name = "absolute_actions_processor"
    change(folder / AFTER, step(registry_name=name, config={"enabled": True}))
    known = name in installed().steps
    why = f"and {name} must both be enabled" if known else f"does not know the step '{name}' of {AFTER}"
    with pytest.raises(LoadFailed, match=re.escape(why)):
        source(folder).default()


def test_the_version_that_wrote_it_is_told_where_it_can_be(tmp_path):
    folder = write_files(tmp_path / "m", pretrained_revision=None, invented=1)
    with pytest.raises(LoadFailed, match=r"was written by LeRobot 0\.6 or newer, this is") as raised:
        source(folder).default()
    other = next(each for each in releases() if each is not installed())
    assert f"LeRobot {other.name} does not know the field 'invented' of config.json (1). Train" in raised.value.text


def test_the_server_ends_with_the_reason_before_it_listens(tmp_path):
    folder = write_files(tmp_path / "m", kind="sarm")
    done = offboard("serve", "--checkpoints-dir", str(folder), "--port", "0", "--json")
    assert done.returncode == 1
    assert "holds a 'sarm' policy, which drives nothing: it judges how far a task is; these" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
