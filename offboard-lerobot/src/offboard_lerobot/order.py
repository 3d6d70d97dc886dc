"""Whether a checkpoint's processor steps stand where LeRobot's own factory puts them. No torch.

LeRobot runs any list of steps. One that stands elsewhere computes with other numbers than in training: an action that
is normalised again after all, a state that the prompt shows before it is normalised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from .features import CONFIG, POSTPROCESSOR, PREPROCESSOR
from .files import Files
from .plugins import is_third_party
from .step_verdict import RELATIVE, options

RENAME = "rename_observations_processor"
NORMALIZERS = ("normalizer_processor", "molmoact2_masked_normalizer")
UNNORMALIZERS = ("unnormalizer_processor", "molmoact2_masked_unnormalizer")
_CROP = "image_crop_resize_processor"
_PICTURES = ("xvla_image_scale", "xvla_image_to_float", "xvla_imagenet_normalize")
#: Steps that read the pictures and the state.
_READS_ALL = ("groot_n1_7_pack_inputs_v1", "groot_n1_7_vlm_encode_v1", "molmoact2_pack_inputs")

#: File → orders in which its steps stand, whatever the type. What shares no order does not change what the other reads,
#: and steps in none of them change no number: they stand wherever they like.
_ORDERS: Mapping[str, Sequence[Sequence[str]]] = {
    PREPROCESSOR: (
        (
            "molmoact2_state_frame_transform",
            "evo1_pad_state_processor",
            "evo1_pad_action_processor",
            RELATIVE,
            *NORMALIZERS,
            "molmoact2_clamp_normalized",
            "pi05_prepare_state_tokenizer_processor_step",
            "pi0_fast_prepare_state_tokenizer_processor_step",
            *_READS_ALL,
        ),
        (_CROP, *_PICTURES, *NORMALIZERS, "eo1_conversation_template_processor", "eo1_qwen_processor", *_READS_ALL),
        (
            "pi0_new_line_processor",
            "smolvla_new_line_processor",
            "wall_x_task_processor",
            "pi05_prepare_state_tokenizer_processor_step",
            "pi0_fast_prepare_state_tokenizer_processor_step",
            "tokenizer_processor",
        ),
        ("xvla_add_domain_id",),
    ),
    POSTPROCESSOR: (
        (
            "molmoact2_clamp_action",
            "vla_jepa_clip_actions",
            "vla_jepa_pre_snap_gripper",
            *UNNORMALIZERS,
            "groot_action_unpack_unnormalize_v2",
            "groot_n1_7_action_decode_v1",
            "absolute_actions_processor",
            "molmoact2_action_frame_transform",
            "evo1_action_processor",
            "vla_jepa_binarize_gripper",
            "fastwam_action_toggle_processor",
            "xvla_rotation_6d_to_axis_angle",
        ),
    ),
}
_NORMALIZE: Mapping[str, Sequence[Sequence[str]]] = {PREPROCESSOR: (NORMALIZERS,), POSTPROCESSOR: (UNNORMALIZERS,)}
_OTHER = {PREPROCESSOR: POSTPROCESSOR, POSTPROCESSOR: PREPROCESSOR}

#: Type → file → the steps that LeRobot always makes for it beside those that normalise; one of those with a | between.
_ALWAYS: Mapping[str, Mapping[str, str]] = {
    "eo1": {PREPROCESSOR: "eo1_conversation_template_processor eo1_qwen_processor"},
    "evo1": {PREPROCESSOR: "evo1_pad_state_processor", POSTPROCESSOR: "evo1_action_processor"},
    "groot": {
        PREPROCESSOR: "groot_n1_7_pack_inputs_v1 groot_n1_7_vlm_encode_v1",
        POSTPROCESSOR: "groot_action_unpack_unnormalize_v2|groot_n1_7_action_decode_v1",
    },
    "molmoact2": {
        PREPROCESSOR: "molmoact2_state_frame_transform molmoact2_clamp_normalized molmoact2_pack_inputs",
        POSTPROCESSOR: "molmoact2_clamp_action molmoact2_action_frame_transform",
    },
    "multi_task_dit": {PREPROCESSOR: "tokenizer_processor"},
    "pi0": {PREPROCESSOR: "pi0_new_line_processor tokenizer_processor"},
    "pi05": {PREPROCESSOR: "pi05_prepare_state_tokenizer_processor_step tokenizer_processor"},
    "pi0_fast": {PREPROCESSOR: "pi0_fast_prepare_state_tokenizer_processor_step tokenizer_processor"},
    "smolvla": {PREPROCESSOR: "smolvla_new_line_processor tokenizer_processor"},
    "wall_x": {PREPROCESSOR: "wall_x_task_processor"},
    "xvla": {PREPROCESSOR: "tokenizer_processor xvla_imagenet_normalize|xvla_image_scale xvla_add_domain_id"},
}
#: Type → field → the step that LeRobot makes in the postprocessor where the field asks for it.
_ASKED: Mapping[str, Mapping[str, str]] = {
    "fastwam": {"toggle_action_dimensions": "fastwam_action_toggle_processor"},
    "vla_jepa": {
        "binarize_gripper_action": "vla_jepa_binarize_gripper",
        "clip_normalized_actions": "vla_jepa_clip_actions",
        "pre_snap_gripper_action": "vla_jepa_pre_snap_gripper",
    },
}


def wrong(files: Files, file: str) -> Iterator[str]:
    """What stands in this file and is another's, or elsewhere, twice, or missing. ``files``: with what is run alone."""
    listed = files.steps.get(file, ())
    names = [step["registry_name"] for step in listed]
    # A third party's may compute otherwise; all normalise once, on the right side of the model.
    known = _NORMALIZE if is_third_party(files.type) else _ORDERS
    orders, others = known[file], known[_OTHER[file]]
    if astray := [name for name in names if any(name in order for order in others)]:
        yield f"runs {astray[0]} in {file}, which is a step of {_OTHER[file]}"
    blind = [step["registry_name"] for step in listed if not _sees(step)]
    for order in orders:
        ranked = [name for name in names if name in order and not (_CROP in order and name in blind)]
        for first, second in pairwise(ranked):
            if order.index(first) > order.index(second):
                yield f"runs {first} before {second} in {file}, and LeRobot trains the other way round"
        if again := [name for name in ranked if ranked.count(name) > 1]:
            yield f"runs {again[0]} {ranked.count(again[0])} times in {file}, and LeRobot trains with one"
    # A picture may be cropped by the data set's name for it.
    yield from _renamed(listed, file, [name for order in orders[:2] for name in order if name != _CROP])
    for each in _ALWAYS.get(files.type, {}).get(file, "").split():
        if not any(name in names for name in each.split("|")):
            yield f"has no {each.replace('|', ' or ')} in {file}, which LeRobot trains each {files.type} with"
    for field, name in _ASKED.get(files.type, {}).items() if file == POSTPROCESSOR else ():
        if files.config.get(field) and name not in names:
            yield f"says {field} in {CONFIG}, and {file} has no {name}"
    yield from _excluded(files, listed, file)


def _sees(step: Mapping[str, Any]) -> bool:
    """Whether pictures are something to this step; most policies do not normalise them."""
    modes = options(step).get("norm_map")
    normalises = step["registry_name"] in NORMALIZERS and isinstance(modes, Mapping)
    return not normalises or cast("Mapping[str, Any]", modes).get("VISUAL", "IDENTITY") != "IDENTITY"


def _renamed(listed: Sequence[Mapping[str, Any]], file: str, readers: Sequence[str]) -> Iterator[str]:
    """Names that are changed after something has read them."""
    read = None
    for name, said in ((step["registry_name"], options(step)) for step in listed):
        if name == RENAME and said.get("rename_map"):
            if file == POSTPROCESSOR:
                yield f"renames features in {file}, where there are none"
            elif read:
                yield f"renames features in {file} after {read}, which knows them by the policy's names"
        elif name in readers:
            read = read or name


def _excluded(files: Files, listed: Sequence[Mapping[str, Any]], file: str) -> Iterator[str]:
    """Joints that are relative in the step, and absolute in the config; or the other way."""
    for step in listed:
        said = options(step)
        if step["registry_name"] != RELATIVE or not said.get("enabled"):
            continue
        meant, done = files.config.get("relative_exclude_joints"), said.get("exclude_joints")
        if "relative_exclude_joints" in files.config and (meant or []) != (done or []):
            yield f"says relative_exclude_joints {meant!r:.80} in {CONFIG}, and {RELATIVE} in {file} has {done!r:.80}"
        meant, done = files.config.get("action_feature_names"), said.get("action_names")
        # How many there are says nothing: of a data set that has {"motors": […]} LeRobot keeps just that word, and made
        # all joints relative when it trained.
        if meant and (done or said.get("exclude_joints")) and meant != done:
            yield f"says action_feature_names {meant!r:.80} in {CONFIG}, and {RELATIVE} in {file} has {done!r:.80}"
