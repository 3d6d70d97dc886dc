"""A checkpoint whose processors normalise otherwise than it was trained is refused by its files, before a load."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from lerobot_checkpoints import change_weights
from offboard_client.errors import LoadFailed
from offboard_lerobot import order
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


def moved(name, to):
    """That step at another place of its list."""

    def change(steps):
        [at] = [i for i, step in enumerate(steps) if step["registry_name"] == name]
        steps.insert(to, steps.pop(at))

    return change


def renamed(steps):
    [step] = [step for step in steps if step["registry_name"] == RENAME]
    step["config"]["rename_map"] = {"observation.qpos": STATE}
    steps.append(steps.pop(steps.index(step)))


def again(other):
    """What undoes a normalization, or makes it anew, as a last step."""
    return lambda steps: steps.append({**normalizer(steps), "registry_name": other})


RENAME, NORMAL, UNNORMAL = "rename_observations_processor", "normalizer_processor", "unnormalizer_processor"
ELSEWHERE = {
    "normalised again after the model": ("post", again(NORMAL), f"runs {NORMAL} in policy_post.*; {ACTS}"),
    "raw before the model": ("pre", again(UNNORMAL), f"runs {UNNORMAL} in policy_pre.* a step of policy_post.*{SEES}"),
    "renamed too late": ("pre", renamed, f"renames features in policy_preprocessor.json after {NORMAL}, which"),
}


@pytest.mark.parametrize("which", ELSEWHERE)
def test_nothing_is_normalised_on_the_wrong_side_of_the_model_or_under_another_name(copy, which):
    name, change, says = ELSEWHERE[which]
    rewrite(copy, name, change)
    refused(copy, says)


def test_where_a_step_changes_nothing_it_may_stand(copy):
    """The device of another machine, a batch, a map of no names."""
    for name in (RENAME, "device_processor", "to_batch_processor"):
        rewrite(copy, "pre", moved(name, 3))
    rewrite(copy, "pre", lambda steps: steps.append(next(s for s in steps if s["registry_name"] == RENAME)))
    [checkpoint] = LeRobotRegistry(str(copy)).checkpoints()
    LeRobotLoader(LeRobotOptions()).check(checkpoint)


RELATIVE, ABSOLUTE, NEW_LINE = "relative_actions_processor", "absolute_actions_processor", "pi0_new_line_processor"
SHOWN, WORDS = "pi05_prepare_state_tokenizer_processor_step", "tokenizer_processor"
PI0, PI05 = [RENAME, NEW_LINE, WORDS, RELATIVE, NORMAL], [RENAME, NORMAL, SHOWN, WORDS]
FLOAT, IMAGENET, DOMAIN = "xvla_image_to_float", "xvla_imagenet_normalize", "xvla_add_domain_id"
XVLA, BACK = [RENAME, WORDS, FLOAT, IMAGENET, DOMAIN, NORMAL], [UNNORMAL, ABSOLUTE]
PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
WRONG = [
    ("pi0", POST, [UNNORMAL, ABSOLUTE, ABSOLUTE], f"runs {ABSOLUTE} 2 times in {POST}"),
    ("pi0", POST, [ABSOLUTE, UNNORMAL], f"runs {ABSOLUTE} before {UNNORMAL} in {POST}"),
    ("pi0", POST, [*BACK, RELATIVE], f"runs {RELATIVE} in {POST}, which is a step of {PRE}"),
    ("pi0", PRE, [RENAME, NEW_LINE, WORDS, NORMAL, RELATIVE], f"runs {NORMAL} before {RELATIVE} in {PRE}"),
    ("pi0", PRE, [RENAME, WORDS, NEW_LINE, NORMAL], f"runs {WORDS} before {NEW_LINE}"),
    ("pi0", PRE, [RENAME, WORDS, NORMAL], f"has no {NEW_LINE} in {PRE}, which LeRobot trains each pi0 with"),
    ("pi05", PRE, [RENAME, SHOWN, WORDS, NORMAL], f"runs {SHOWN} before {NORMAL} in {PRE}"),
    ("pi05", PRE, [RENAME, NORMAL, WORDS], f"has no {SHOWN}"),
    ("xvla", PRE, [RENAME, WORDS, DOMAIN, NORMAL], f"has no {IMAGENET} or xvla_image_scale in {PRE}"),
    ("xvla", PRE, [RENAME, WORDS, IMAGENET, IMAGENET, DOMAIN, NORMAL], f"runs {IMAGENET} 2 times"),
    ("xvla", PRE, [RENAME, WORDS, NORMAL, FLOAT, IMAGENET, DOMAIN], f"runs {NORMAL} before {FLOAT}"),
    ("vla_jepa", POST, [UNNORMAL], f"says clip_normalized_actions in config.json, and {POST} has no vla_jepa_clip"),
    ("of_somebody", PRE, [NORMAL, "theirs", NORMAL], f"runs {NORMAL} 2 times"),
    ("of_somebody", POST, [UNNORMAL, NORMAL], f"runs {NORMAL} in {POST}, which is a step of {PRE}"),
]
RIGHT = [
    ("pi0", PRE, PI0),
    ("pi0", PRE, [RENAME, NORMAL, NEW_LINE, WORDS]),  # words and numbers have nothing to do with each other
    ("pi0", POST, BACK),
    ("pi05", PRE, PI05),
    ("xvla", PRE, XVLA),
    ("act", PRE, [NORMAL]),
    ("act", PRE, [NORMAL, RENAME]),  # of no names
    ("of_somebody", PRE, ["theirs", SHOWN, NORMAL, RENAME, "theirs"]),
]


CONFIG = {
    "clip_normalized_actions": True,
    "relative_exclude_joints": ["gripper"],
    "action_feature_names": ["a", "b"],
    "output_features": {"action": {"type": "ACTION", "shape": [2]}},
}


def order_of(kind, file, names, **config):
    steps = {file: [{"registry_name": name, "config": config} for name in names]}
    return [*order.wrong(SimpleNamespace(type=kind, config=CONFIG, steps=steps), file)]


@pytest.mark.parametrize(("kind", "file", "names", "says"), WRONG)
def test_steps_in_another_order_than_lerobots_own_are_named(kind, file, names, says):
    assert says in order_of(kind, file, names)[0]


@pytest.mark.parametrize(("kind", "file", "names"), RIGHT)
def test_steps_in_lerobots_order_are_taken(kind, file, names):
    assert order_of(kind, file, names) == []


def test_the_joints_that_stay_absolute_are_those_of_the_config(monkeypatch):
    assert order_of("pi0", PRE, PI0, enabled=True, exclude_joints=["gripper"], action_names=["a", "b"]) == []
    [why] = order_of("pi0", PRE, PI0, enabled=True, exclude_joints=["a"], action_names=["a", "b"])
    assert why == f"says relative_exclude_joints ['gripper'] in config.json, and {RELATIVE} in {PRE} has ['a']"
    [why] = order_of("pi0", PRE, PI0, enabled=True, exclude_joints=["gripper"], action_names=["b", "a"])
    assert why.startswith("says action_feature_names ['a', 'b'] in config.json")
    [why] = order_of("pi0", PRE, PI0, enabled=True, exclude_joints=["gripper"])
    assert why.endswith("has None"), "LeRobot would make the gripper relative, too"
    # A data set that calls its joints {"motors": […]} gives LeRobot one name, in training as here.
    monkeypatch.setitem(CONFIG, "action_feature_names", ["motors"])
    assert order_of("pi0", PRE, PI0, enabled=True, exclude_joints=["gripper"], action_names=["motors"]) == []


@pytest.mark.parametrize(("mode", "names"), [("MEAN_STD", [FLOAT]), ("IDENTITY", [])])
def test_pictures_that_are_not_normalised_are_made_ready_whenever(mode, names):
    steps = [RENAME, WORDS, NORMAL, FLOAT, IMAGENET, DOMAIN]
    found = order_of("xvla", PRE, steps, norm_map={"VISUAL": mode})
    assert found == [f"runs {NORMAL} before {name} in {PRE}, and LeRobot trains the other way round" for name in names]
