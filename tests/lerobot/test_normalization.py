"""A checkpoint whose processors normalise otherwise than it was trained is refused by its files, before a load."""

import json
import re
import shutil

import pytest
from lerobot_checkpoints import change_weights
from offboard_client.errors import LoadFailed
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

ACTS, SEES = "a robot would be sent other numbers than the model means", "the model would see other numbers"
STATE, LEFT = "observation.state", "observation.images.left"


def refused(folder, says):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    with pytest.raises(LoadFailed, match=says) as raised:
        LeRobotLoader(LeRobotOptions()).check(checkpoint)
    assert raised.value.permanent
    assert "Save both processors anew" in raised.value.text


@pytest.fixture
def copy(act, tmp_path):
    return shutil.copytree(act, tmp_path / "pretrained_model")


def rewrite(folder, name, change):
    """Change the list of steps of ``policy_NAMEprocessor.json``."""
    path = folder / f"policy_{name}processor.json"
    content = json.loads(path.read_text())
    change(content["steps"])
    path.write_text(json.dumps(content))


def normalizer(steps):
    return next(step for step in steps if "normalizer" in step["registry_name"])


def option(**options):
    return lambda steps: normalizer(steps)["config"].update(options)


STEPS = {
    "none": (lambda steps: steps.clear(), "IDENTITY"),
    "no such": (lambda steps: steps.remove(normalizer(steps)), "IDENTITY"),
    "a map of nothing": (option(norm_map={}), "IDENTITY"),
    "none of all": (option(norm_map=dict.fromkeys(("VISUAL", "STATE", "ACTION"), "IDENTITY")), "IDENTITY"),
    "another mode": (option(norm_map=dict.fromkeys(("VISUAL", "STATE", "ACTION"), "MIN_MAX")), "MIN_MAX"),
}


@pytest.mark.parametrize("change", STEPS)
@pytest.mark.parametrize(("name", "feature", "harm"), [("pre", STATE, SEES), ("post", "action", ACTS)])
def test_it_is_normalised_as_it_was_trained(copy, name, feature, harm, change):
    change, mode = STEPS[change]
    rewrite(copy, name, change)
    refused(copy, rf"trained with {feature} in MEAN_STD .*, policy_{name}processor\.json has it in {mode}; {harm}")


def test_what_a_step_does_not_list_it_does_not_normalise(copy):
    rewrite(copy, "pre", lambda steps: normalizer(steps)["config"]["features"].pop(STATE))
    refused(copy, f"trained with {STATE} in MEAN_STD")


def test_what_a_step_is_told_to_leave_out_it_does_not_normalise(copy):
    rewrite(copy, "pre", option(normalize_observation_keys=[LEFT]))
    refused(copy, f"trained with {STATE} in MEAN_STD")


def test_nothing_is_normalised_twice(copy):
    rewrite(copy, "post", lambda steps: steps.insert(0, steps[0]))
    refused(copy, rf"normalises 2 times in policy_postprocessor\.json; {ACTS}")


@pytest.mark.parametrize("eps", [-1.0, 1e9, float("nan"), "1e-8", None, True])
def test_what_is_added_to_a_spread_is_little(copy, eps):
    rewrite(copy, "post", option(eps=eps))
    refused(copy, re.escape(f"has eps {eps!r} in policy_postprocessor.json"))


NUMBERS = {
    "one for all": ("action.mean", lambda v: v[:1].clone(), r"has the shape \[1\], expected \[8\]"),
    "one without axes": ("action.std", lambda v: v[0].clone(), r"has the shape \[\], expected \[8\]"),
    "a row for each step": ("action.std", lambda v: v.repeat(16, 1), r"has the shape \[16, 8\], expected \[8\]"),
    "whole numbers": ("action.std", lambda v: v.long(), "is I64, and no floating point"),
    "flags": ("action.std", lambda v: v > 0, "is BOOL, and no floating point"),
    "not a number": ("action.mean", lambda v: v * float("nan"), "is not finite"),
    "endless": (f"{STATE}.std", lambda v: v / 0, "is not finite"),
    "mirrored": ("action.std", lambda v: -v, "has a std of action in .* that is below 0"),
    "pixels by 0": (f"{LEFT}.std", lambda v: v * 0, "that is 0, by which its pixels are divided"),
    "a pixel's": (f"{LEFT}.mean", lambda v: v.repeat(1, 2, 2), r"has the shape \[3, 2, 2\], expected \[3, 1, 1\]"),
}


def change_statistic(folder, key, change):
    for state in folder.glob("policy_*_step_*.safetensors"):
        change_weights(state, lambda tensors: tensors.update({key: change(tensors[key])} if key in tensors else {}))


@pytest.mark.parametrize("which", NUMBERS)
def test_statistics_are_those_of_the_feature(copy, which):
    key, change, says = NUMBERS[which]
    change_statistic(copy, key, change)
    refused(copy, says)


def test_a_range_that_is_upside_down_is_none(diffusion, tmp_path):
    copy = shutil.copytree(diffusion, tmp_path / "pretrained_model")
    change_statistic(copy, "action.min", lambda v: v + 5)
    refused(copy, "has a min of action in .* that is above its max")


def test_what_lerobot_takes_is_taken(copy):
    """A joint that never moved, statistics of half the precision, and with the axis of a batch."""
    change_statistic(copy, f"{STATE}.std", lambda v: v.index_fill(0, (v * 0).long()[:1], 0.0))
    change_statistic(copy, "action.mean", lambda v: v.bfloat16())
    change_statistic(copy, "action.std", lambda v: v.half().reshape(1, 8).clone())
    [checkpoint] = LeRobotRegistry(str(copy)).checkpoints()
    LeRobotLoader(LeRobotOptions()).check(checkpoint)
