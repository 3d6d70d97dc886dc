"""What few checkpoints say of themselves, planted in one of each type that can say it: done as LeRobot does it."""

import json
import shutil

import numpy as np
import pytest
from lerobot_checkpoints import kinds, model_inputs, save_policy, write_files, write_safetensors
from lerobot_loop import played
from offboard_client.errors import BadParameter, ConfigurationError
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.motors import MotorsOptions, motors
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.statistics import read_statistics
from offboard_lerobot.versions import installed

TYPES = installed().types
ARM, TOP = "observation.arm", "observation.images.top"
STATE, LEFT, SIDE = "observation.state", "observation.images.left", "observation.images.side"
#: How the data set called what the policy calls otherwise.
SENT = {STATE: ARM, LEFT: TOP, SIDE: LEFT}


def having(field):
    """Types that can be made here and have this field."""
    return [kind for kind in kinds() if field in TYPES[kind] and kind != "groot"]


def listed(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return checkpoint


def answers(folder, kind, sent=None):
    import torch

    policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(listed(folder), lambda _: None)
    try:
        session = policy.new_session(policy.params())
        chunks = []
        for number in (1, 2, 3):
            torch.manual_seed(number)
            inputs = {(sent or {}).get(name, name): value for name, value in model_inputs(number, kind).items()}
            chunks.append(session.infer({**inputs, "task": "stack"}, NO_CONTEXT).action)
        return chunks
    finally:
        policy.close()


def of_lerobot(folder, kind, **sent):
    from lerobot.policies.factory import get_policy_class

    return played(get_policy_class(kind).from_pretrained(folder), folder, kind, (1, 2, 3), **sent)


def assert_as_lerobot(folder, kind):
    wanted = of_lerobot(folder, kind)
    got = answers(folder, kind)
    np.testing.assert_array_equal([chunk[: len(wanted[0])] for chunk in got], wanted)
    return got


def renamed(folder, **where):
    path = folder / "policy_preprocessor.json"
    content = json.loads(path.read_text())
    [step] = [step for step in content["steps"] if step["registry_name"] == "rename_observations_processor"]
    step["config"]["rename_map"] = where.get("map", {sent: read for read, sent in SENT.items()})
    if where.get("last"):
        content["steps"].remove(step)
        content["steps"].append(step)
    path.write_text(json.dumps(content))
    return folder


def test_renamed_features_have_the_statistics_of_what_they_become(act, tmp_path):
    folder = renamed(shutil.copytree(act, tmp_path / "pretrained_model"))
    assert {*listed(folder).inputs} == {*SENT.values()}
    wanted = of_lerobot(folder, "act", sent=SENT)
    np.testing.assert_array_equal(answers(folder, "act", SENT), wanted)
    np.testing.assert_array_equal(wanted, of_lerobot(act, "act"))
    before, after = read_statistics(listed(act)), read_statistics(listed(folder))
    assert f"{STATE}.mean" not in after
    for statistic in ("mean", "std", "min", "max"):
        np.testing.assert_array_equal(after[f"{ARM}.{statistic}"], before[f"{STATE}.{statistic}"])
        np.testing.assert_array_equal(after[f"action.{statistic}"], before[f"action.{statistic}"])


def test_statistics_of_before_a_renaming_keep_their_names(act, tmp_path):
    folder = renamed(shutil.copytree(act, tmp_path / "pretrained_model"), map={ARM: STATE}, last=True)
    assert f"{STATE}.mean" in read_statistics(listed(folder))


def test_the_unit_of_motors_is_held_against_what_their_numbers_become(tmp_path):
    """A policy that calls the state otherwise, and one whose statistics are of what is renamed away."""
    features = {ARM: {"type": "STATE", "shape": [2]}}
    folder = write_files(
        tmp_path / "m", input_features=features, output_features={"action": {"type": "ACTION", "shape": [2]}}
    )
    state = "policy_preprocessor_step_1_normalizer_processor.safetensors"
    steps = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {STATE: ARM}}},
        {"registry_name": "normalizer_processor", "config": {}, "state_file": state},
    ]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"steps": steps}))
    options = MotorsOptions(units="range", fps=30.0, names=("shoulder_pan", "elbow_flex"))
    write_safetensors(folder / state, **{f"{ARM}.min": [-150.0, 0.0], f"{ARM}.max": [150.0, 90.0]})
    with pytest.raises(BadParameter, match="was trained on more than 100: shoulder_pan -150 … 150"):
        motors(options, listed(folder))
    write_safetensors(folder / state, **{f"{STATE}.min": [-150.0, 0.0], f"{STATE}.max": [150.0, 90.0]})
    assert motors(options, listed(folder))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("offboard.seed", "which in an observation says something else"),
        ("obs_time", "which in an observation says something else"),
        ("observation.\ud800", "and a name is printable text of at most 256 characters"),
        ("observation." + "x" * 256, "and a name is printable text of at most 256 characters"),
    ],
    ids=["seed", "time", "surrogate", "long"],
)
def test_an_input_that_nobody_can_send_by_its_name_is_refused_before_the_server_listens(tmp_path, name, text):
    """It loaded well, and then every session or observation was refused."""
    folder = write_files(tmp_path / "m", input_features={name: {"type": "STATE", "shape": [8]}})
    source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=str(folder))
    with pytest.raises(ConfigurationError, match=f"the codec lerobot.native declares .*, {text}"):
        source.codec.resolve(source.registry.default(), {})


@pytest.mark.skipif(not having("empty_cameras"), reason="they want transformers")
@pytest.mark.parametrize("kind", having("empty_cameras"))
def test_a_camera_that_nobody_has_is_filled_as_lerobot_fills_it(lerobot, tmp_path, kind):
    folder = save_policy(tmp_path / "pretrained_model", kind, 4, empty_cameras=1)
    described = json.loads((folder / "config.json").read_text())["input_features"]
    assert any("empty_camera_0" in name for name in described)
    assert not any("empty_camera" in name for name in listed(folder).inputs)
    assert_as_lerobot(folder, kind)


NAMES = ["a", "b", "c", "d", "e", "f", "g", "gripper"]


@pytest.mark.skipif(not having("use_relative_actions"), reason="they want LeRobot 0.6 and transformers")
@pytest.mark.parametrize("kind", having("use_relative_actions"))
def test_relative_actions_start_from_the_state_but_for_the_joints_that_are_left_out(lerobot, tmp_path, kind):
    relative = {"use_relative_actions": True, "relative_exclude_joints": ["gripper"], "action_feature_names": NAMES}
    folder = save_policy(tmp_path / "relative" / "pretrained_model", kind, 4, **relative)
    got = np.stack(assert_as_lerobot(folder, kind))
    absolute = np.stack(answers(save_policy(tmp_path / "absolute" / "pretrained_model", kind, 4), kind))
    states = np.stack([model_inputs(number, kind)[STATE] for number in (1, 2, 3)])[:, None]
    np.testing.assert_array_equal(got[..., 7], absolute[..., 7])
    np.testing.assert_allclose(got[..., :7], (absolute + states)[..., :7], atol=1e-5)
