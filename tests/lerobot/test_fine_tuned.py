"""A base that was fine-tuned on another robot is asked as it was trained, not as its base's features say."""

import json

import numpy as np
import pytest
from lerobot_checkpoints import SIDE as PIXELS
from lerobot_checkpoints import kinds, save_policy, write_files, write_safetensors
from lerobot_fine_tuned import fine_tuned
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import NO_CONTEXT
from offboard_lerobot import normalization
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

STATE, LEFT, SIDE = "observation.state", "observation.images.left", "observation.images.side"
PICTURE = ("VISUAL", (3, PIXELS, PIXELS))
#: The data set of a robot with six joints; the bases have eight.
SIX = {STATE: ("STATE", (6,)), LEFT: PICTURE, SIDE: PICTURE, "action": ("ACTION", (6,))}
ONE_CAMERA = {name: of for name, of in SIX.items() if name != SIDE}
FILL_UP = ("eo1", "evo1", "pi0", "pi05", "pi0_fast", "smolvla", "wall_x", "xvla")
GO_WITHOUT = ("pi0", "pi05", "pi0_fast", "smolvla", "wall_x", "xvla")
NEED_TRANSFORMERS = pytest.mark.skipif("smolvla" not in kinds(), reason="they want transformers")


def here(types):
    return [kind for kind in kinds() if kind in types]


def listed(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return checkpoint


def observed(data_set):
    random = np.random.default_rng(7)
    return {
        name: random.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)
        if how == "VISUAL"
        else random.uniform(-1, 1, shape).astype(np.float32)
        for name, (how, shape) in data_set.items()
        if how != "ACTION"
    }


def of_lerobot(folder, kind, seen):
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    policy = get_policy_class(kind).from_pretrained(folder).eval()
    preprocess, postprocess = make_pre_post_processors(policy.config, pretrained_path=str(folder))
    torch.manual_seed(3)
    rows = []
    for _ in range(policy.config.n_action_steps):
        inputs = prepare_observation_for_inference(dict(seen), torch.device("cpu"), task="stack")
        rows.append(postprocess(policy.select_action(preprocess(inputs)))[0].numpy())
    return np.stack(rows)


def answer(folder, seen):
    import torch

    policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(listed(folder), lambda _: None)
    try:
        torch.manual_seed(3)
        return policy.new_session(policy.params()).infer({**seen, "task": "stack"}, NO_CONTEXT).action
    finally:
        policy.close()


def assert_as_lerobot(folder, kind, seen):
    assert {*listed(folder).inputs} == {*seen}
    wanted = of_lerobot(folder, kind, seen)
    np.testing.assert_array_equal(answer(folder, seen)[: len(wanted)], wanted)


@NEED_TRANSFORMERS
@pytest.mark.parametrize("kind", here(FILL_UP))
def test_a_robot_of_another_number_of_joints_sends_its_own(lerobot, tmp_path, kind):
    folder = fine_tuned(tmp_path / "tuned", save_policy(tmp_path / "base", kind, 4), SIX)
    assert json.loads((folder / "config.json").read_text())["input_features"][STATE]["shape"] == [8], "the base's"
    assert listed(folder).inputs[STATE].shape == (6,)
    assert_as_lerobot(folder, kind, observed(SIX))


@NEED_TRANSFORMERS
@pytest.mark.parametrize("kind", here(GO_WITHOUT))
def test_a_camera_that_was_not_trained_with_is_not_asked_for(lerobot, tmp_path, kind):
    folder = fine_tuned(tmp_path / "tuned", save_policy(tmp_path / "base", kind, 4), ONE_CAMERA)
    assert listed(folder).extras["untrained_cameras"] == [SIDE]
    assert_as_lerobot(folder, kind, observed(ONE_CAMERA))


@NEED_TRANSFORMERS
def test_cameras_that_were_renamed_for_the_training_are_those_that_it_had(lerobot, tmp_path):
    top = {STATE: SIX[STATE], "observation.images.top": PICTURE, "action": SIX["action"]}
    base = save_policy(tmp_path / "base", "smolvla", 4)
    folder = fine_tuned(tmp_path / "tuned", base, top, {"observation.images.top": SIDE})
    assert listed(folder).extras["untrained_cameras"] == [LEFT]
    assert_as_lerobot(folder, "smolvla", observed(top))


@NEED_TRANSFORMERS
def test_smolvla_is_sent_the_state_that_its_config_does_not_list(lerobot, tmp_path, monkeypatch):
    monkeypatch.setattr("lerobot_checkpoints.INPUTS", {LEFT: PICTURE, SIDE: PICTURE})
    base = save_policy(tmp_path / "base", "smolvla", 4)
    folder = fine_tuned(tmp_path / "tuned", base, SIX)
    assert_as_lerobot(folder, "smolvla", observed(SIX))


@pytest.mark.parametrize(("kind", "camera"), [("act", LEFT), ("tdmpc", "observation.image")])
def test_pictures_alone_are_all_that_a_robot_sends_to_a_policy_that_looks_at_nothing_else(
    lerobot, tmp_path, monkeypatch, kind, camera
):
    """LeRobot's own loop has the robot's state there, and its policy does not look at it."""
    monkeypatch.setattr("lerobot_checkpoints.inputs_of", lambda _: {camera: PICTURE})
    folder = save_policy(tmp_path / "m", kind, 4)
    seen = observed({camera: PICTURE})
    assert {*listed(folder).inputs} == {camera}
    for state in (np.zeros(8, np.float32), np.ones(3, np.float32)):
        wanted = of_lerobot(folder, kind, {**seen, STATE: state})
        np.testing.assert_array_equal(answer(folder, seen)[: len(wanted)], wanted)


def planted(folder, kind="smolvla", rename=None, **numbers):
    """A checkpoint of which only the files are read. ``numbers``: FEATURE_STATISTIC → its shape."""
    write_files(folder, kind=kind)
    state = "policy_preprocessor_step_1_normalizer_processor.safetensors"
    steps = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": rename or {}}},
        {"registry_name": "normalizer_processor", "config": {"features": {}}, "state_file": state},
    ]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"steps": steps}))
    write_safetensors(folder / state, **{name: np.full(shape, 0.5) for name, shape in numbers.items()})
    return folder


def stats(name, *shape):
    return {f"{name}.mean": shape, f"{name}.std": shape, f"{name}.count": (1,)}


@pytest.mark.parametrize("shape", [(6,), (1, 6), (14,)])
@pytest.mark.parametrize("kind", [kind for kind in FILL_UP if kind != "evo1"])
def test_the_state_is_as_wide_as_its_statistics(tmp_path, kind, shape):
    checkpoint = listed(planted(tmp_path / "m", kind, **stats(STATE, *shape)))
    assert checkpoint.inputs[STATE].shape == (shape[-1],)
    assert "untrained_cameras" not in checkpoint.extras, "nothing is known of them"


def test_a_renamed_state_is_not_the_data_sets_other_column_of_that_name(tmp_path):
    joints = "observation.joints"
    both = {**stats(STATE, 6), **stats(joints, 7)}
    checkpoint = listed(planted(tmp_path / "m", "xvla", rename={joints: STATE}, **both))
    assert checkpoint.inputs[joints].shape == (7,)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("act", stats(STATE, 6)),  # its network has the width
        ("groot", stats(STATE, 6)),  # they are the base's
        ("smolvla", {}),
        ("smolvla", stats("observation.effort", 6)),
        ("smolvla", {f"{STATE}.mean": (6,), f"{STATE}.std": (8,)}),
        ("smolvla", stats(STATE, 6, 6)),
        ("smolvla", {f"{STATE}.count": (1,)}),
    ],
)
def test_the_state_is_as_wide_as_the_config_says_where_nothing_else_tells(tmp_path, kind, found):
    assert listed(planted(tmp_path / "m", kind, **found)).inputs[STATE].shape == (8,)


def test_numbers_that_do_not_agree_are_refused_as_before(tmp_path):
    folder = planted(tmp_path / "m", **{f"{STATE}.mean": (6,), f"{STATE}.std": (8,)})
    content = json.loads((folder / "policy_preprocessor.json").read_text())
    modes = {"STATE": "MEAN_STD"}
    content["steps"][1:1] = [{"registry_name": name} for name in ("smolvla_new_line_processor", "tokenizer_processor")]
    content["steps"][-1]["config"] = {"features": {STATE: {"type": "STATE", "shape": [8]}}, "norm_map": modes}
    (folder / "policy_preprocessor.json").write_text(json.dumps(content))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "normalization_mapping": modes}))
    with pytest.raises(LoadFailed, match=r"has the shape \[6\], expected \[8\]"):
        normalization.check(read(LocalPlace(folder)), LocalPlace(folder))


def test_what_evo1_fills_its_statistics_up_with_is_no_joint(tmp_path):
    folder = planted(tmp_path / "m", "evo1")
    state = folder / "policy_preprocessor_step_1_normalizer_processor.safetensors"
    filled = {"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0}
    numbers = {f"{STATE}.{name}": [0.5] * 6 + [value] * 6 for name, value in filled.items()}
    write_safetensors(state, **numbers)
    assert listed(folder).inputs[STATE].shape == (6,)
    # A gripper that was open in half of all frames has no middle.
    write_safetensors(state, **numbers, **{f"{STATE}.q50": [0.5] * 6 + [-1.0] + [0.0] * 5})
    assert listed(folder).inputs[STATE].shape == (7,)
    write_safetensors(state, **{**numbers, f"{STATE}.mean": [0.5] * 8 + [0.0] * 4})
    assert listed(folder).inputs[STATE].shape == (8,)
    del numbers[f"{STATE}.std"]
    write_safetensors(state, **numbers)
    assert listed(folder).inputs[STATE].shape == (8,), "a joint may have gone from -1 to 1"


def test_a_camera_without_statistics_was_not_trained_with(tmp_path):
    one = stats(LEFT, 3, 1, 1)
    for kind in GO_WITHOUT:
        checkpoint = listed(planted(tmp_path / "m", kind, **one))
        assert (LEFT in checkpoint.inputs, SIDE in checkpoint.inputs) == (True, False)
        assert checkpoint.extras["untrained_cameras"] == [SIDE]
    for kind in ("act", "diffusion", "eo1", "evo1", "vla_jepa", "groot"):
        checkpoint = listed(planted(tmp_path / "m", kind, **one))
        assert {LEFT, SIDE} <= {*checkpoint.inputs}, "it fails without one"
        assert "untrained_cameras" not in checkpoint.extras


def test_a_camera_whose_name_went_to_another_was_not_trained_with(tmp_path):
    checkpoint = listed(planted(tmp_path / "m", rename={LEFT: SIDE}, **stats(LEFT, 3, 1, 1)))
    assert {*checkpoint.inputs} == {STATE, LEFT}
    assert checkpoint.extras["untrained_cameras"] == [LEFT], "by the policy's names; the robot's left is its side"


def test_a_further_column_of_a_data_set_is_not_played(lerobot, tmp_path):
    """LeRobot lists each column that is called after its actions, and learns and plays ``action``."""
    data_set = {**SIX, STATE: ("STATE", (8,)), "action": ("ACTION", (8,)), "action.original": ("ACTION", (7,))}
    data_set["action_eef"] = ("ACTION", (6,))
    base = save_policy(tmp_path / "base", "act", 4)
    folder = fine_tuned(tmp_path / "tuned", base, data_set)
    assert "action.original" in json.loads((folder / "config.json").read_text())["output_features"]
    assert {*listed(folder).outputs} == {"action"}
    assert_as_lerobot(folder, "act", observed(data_set))


def test_what_is_called_otherwise_is_no_column_of_its_actions(tmp_path):
    answers = {name: {"type": "ACTION", "shape": [8]} for name in ("action", "force")}
    folder = write_files(tmp_path / "m", output_features=answers)
    with pytest.raises(LoadFailed, match="answers action, force; only policies that answer 'action'"):
        LeRobotLoader(LeRobotOptions()).check(listed(folder))
