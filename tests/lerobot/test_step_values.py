"""An option of a processor step that is of the wrong kind is told before the server listens, by its name."""

import json
import re
from types import SimpleNamespace

import pytest
from lerobot_checkpoints import write_files
from offboard_client.errors import LoadFailed
from offboard_core.types import Checkpoint
from offboard_lerobot import step_values, step_verdict, steps
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions

CROP, RENAME, NORMAL = "image_crop_resize_processor", "rename_observations_processor", "unnormalizer_processor"
WORDS = "tokenizer_processor"
STATE, TOP = "observation.state", "observation.images.top"
WRONG = [
    (CROP, "resize_size", [100_000, 100_000], r"where \[height, width\] of a picture of at most 22,369,621 pixels"),
    (CROP, "resize_size", [8, -1], r"where \[height, width\]"),
    (CROP, "resize_size", [8], r"where \[height, width\]"),
    (CROP, "resize_size", "x", r"where \[height, width\]"),
    (CROP, "crop_params_dict", {TOP: [0, 0, 10**6, 10**6]}, r"where a map of pictures to \[top, left, height, width\]"),
    (CROP, "crop_params_dict", {TOP: [-1, 0, 8, 8]}, "where a map of pictures"),
    (CROP, "crop_params_dict", [TOP], "where a map of pictures"),
    (NORMAL, "features", None, "where a map of names to their type and shape is expected"),
    (NORMAL, "features", [], "where a map of names"),
    (NORMAL, "features", "x", "where a map of names"),
    (NORMAL, "features", {"action": 5}, "where a map of names"),
    (NORMAL, "features", {"action": {"type": "ACTION", "shape": [-8]}}, "where a map of names"),
    (NORMAL, "norm_map", None, "where a map is"),
    ("device_processor", "float_dtype", "x", "where one of float16, float32"),
    (RENAME, "rename_map", {"": STATE}, "where a map of the data set's names of features to the policy's"),
    (RENAME, "rename_map", {"task": STATE}, "where a map of the data set's names"),
    (RENAME, "rename_map", {"offboard.seed": STATE}, "where a map of the data set's names"),
    (RENAME, "rename_map", {TOP: ""}, "where a map of the data set's names"),
    (WORDS, "max_length", 10**9, "where a whole number from 1 to 16,384"),
    (WORDS, "max_length", True, "where a whole number from 1 to 16,384"),
    (WORDS, "padding", "do_not_pad", "where max_length or longest"),
    (WORDS, "padding_side", "top", "where left or right"),
    (WORDS, "truncation", "false", "where true or false"),
    ("xvla_image_to_float", "image_keys", {"x": 1}, "where a list of texts"),
    ("xvla_add_domain_id", "domain_id", 10**30, "where a whole number"),
    ("vla_jepa_binarize_gripper", "threshold", float("nan"), "where a number"),
    ("molmoact2_state_frame_transform", "joint_signs", ["x"], "where a list of numbers"),
    ("groot_n1_7_pack_inputs_v1", "raw_stats", [], "where a map"),
    ("fastwam_action_toggle_processor", "toggle_dimensions", [6.5], "where a list of whole numbers"),
]


RIGHT = [
    (CROP, "resize_size", None),
    (CROP, "resize_size", [224, 224]),
    (CROP, "crop_params_dict", {TOP: [0, 10, 84, 84]}),
    (NORMAL, "features", {"action": {"type": "ACTION", "shape": [8]}, "x": {"type": "STATE", "shape": []}}),
    (NORMAL, "normalize_observation_keys", None),
    ("device_processor", "float_dtype", None),
    (RENAME, "rename_map", {TOP: "observation.images.camera1"}),
    (WORDS, "padding", "longest"),
    ("relative_actions_processor", "action_names", None),
    ("eo1_qwen_processor", "image_max_pixels", None),
    ("vla_jepa_binarize_gripper", "threshold", 1),
    ("not_of_lerobot", "resize_size", "what its author likes"),
]
FILE = "policy_preprocessor.json"


def refused(*listed):
    return [*step_values.wrong(SimpleNamespace(steps={FILE: listed}))]


@pytest.mark.parametrize(("name", "option", "value", "text"), WRONG)
def test_a_value_that_cannot_be(name, option, value, text):
    assert option in steps.RUN[name], "or nothing asks for it"
    [why] = refused({"registry_name": name, "config": {option: value}})
    said = re.escape(f"{option} ({value!r:.80}) in the step {name!r} of {FILE}, ")
    assert re.match(said + text, why)


@pytest.mark.parametrize(("name", "option", "value"), RIGHT)
def test_a_value_that_can_be(name, option, value):
    assert refused({"registry_name": name, "config": {option: value}}) == []


TOGGLE, TALK, DOMAIN = "fastwam_action_toggle_processor", "eo1_conversation_template_processor", "xvla_add_domain_id"
SAID = {
    "chunk_size": 6,
    "num_domains": 3,
    "output_features": {"action": {"type": "ACTION", "shape": [7]}},
    "toggle_action_dimensions": [6],
}
CONTRADICTS = [
    (TOGGLE, "toggle_dimensions", [0], "toggle_action_dimensions ([6]) in config.json, and the step"),
    (TALK, "chunk_size", 9, "chunk_size (6) in config.json, and the step"),
    (DOMAIN, "domain_id", 3, f"domain_id (3) in the step {DOMAIN!r} of {FILE}, and config.json has num_domains 3"),
    (DOMAIN, "domain_id", -1, "domain_id (-1)"),
]


def against(name, option, value, **config):
    listed = [{"registry_name": name, "config": {option: value}}]
    files = SimpleNamespace(type="x", config={**SAID, **config}, steps={FILE: listed})
    return [*step_verdict.refused(files, local=True)]


@pytest.mark.parametrize(("name", "option", "value", "text"), CONTRADICTS)
def test_a_step_that_contradicts_the_config_is_told_before_the_server_listens(name, option, value, text):
    """It was told by the load, and ended the server; or the sign of another number of the action changed."""
    [why] = against(name, option, value)
    assert why.startswith(text)


def test_a_number_that_an_action_does_not_have_is_not_toggled():
    for wrong in ([7], [-8]):
        [why] = against(TOGGLE, "toggle_dimensions", wrong, toggle_action_dimensions=wrong)
        assert why == f"toggle_dimensions {wrong} in the step {TOGGLE!r} of {FILE}, and an action has 7 numbers"


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (TOGGLE, "toggle_dimensions", [6]),
        (TALK, "chunk_size", 6),
        (DOMAIN, "domain_id", 2),
        (DOMAIN, "domain_id", None),
    ],
)
def test_a_step_that_agrees_with_the_config_is_taken(name, option, value):
    assert against(name, option, value) == []
    config = {key: value for key, value in SAID.items() if key == "output_features"}
    listed = [{"registry_name": name, "config": {option: value}}]
    files = SimpleNamespace(type="x", config=config, steps={FILE: listed})
    assert [*step_verdict.refused(files, local=True)] == []


def test_no_option_of_a_step_is_without_a_kind():
    elsewhere = {*steps.HUB, *steps.ONLY, "eps"}
    assert {option for options in steps.RUN.values() for option in options} - elsewhere == {*step_values.KINDS}


def test_a_config_that_is_no_map():
    assert refused({"registry_name": "to_batch_processor", "config": None}) == []
    [why] = refused({"registry_name": "to_batch_processor", "config": 5})
    assert why == f"the config 5 of the step 'to_batch_processor' of {FILE}, where a map is expected"


def test_steps_without_end_are_refused_before_the_server_listens(tmp_path):
    """They were run at every inference."""
    folder = write_files(tmp_path / "m")
    step = {"registry_name": "to_batch_processor", "config": {}}
    loader, checkpoint = LeRobotLoader(LeRobotOptions()), Checkpoint(id="m", location=str(folder))
    for count, text in ((101, f"/m says 101 steps in {FILE}, where at most 100"), (200_000, "200,000 steps")):
        (folder / FILE).write_text(json.dumps({"steps": [step] * count}))
        with pytest.raises(LoadFailed, match=text):
            loader.check(checkpoint)
