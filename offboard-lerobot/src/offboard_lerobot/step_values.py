"""Of what kind the options of a checkpoint's processor steps must be, as :mod:`.values` says it of the config's fields.

LeRobot takes them as they are: a wrong one is told when the steps are made, at the first inference, or never.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from offboard_client.wire import RESERVED_NAMES

from .files import Files
from .sizes import ANY, PIXELS
from .steps import LEFT_OUT, RUN

#: The most steps of one file: a dozen is what a policy has, and each of them costs every inference.
_MOST = 100
_DTYPES = ("float16", "float32", "float64", "bfloat16", "half", "float", "double")
#: What is no feature: what is said with an observation, and what a training row has beside it.
_NO_FEATURE = frozenset(("", "task", "action", *RESERVED_NAMES))


def wrong(files: Files) -> Iterator[str]:
    """What is said of a step and cannot be."""
    for file, listed in files.steps.items():
        if len(listed) > _MOST:
            yield f"{len(listed):,} steps in {file}, where at most {_MOST} are expected"
            continue
        for step in listed:
            name, options = step["registry_name"], step.get("config")
            if name not in RUN or name in LEFT_OUT:
                continue
            if not isinstance(options, (Mapping, type(None))):
                yield f"the config {options!r:.40} of the step {name!r} of {file}, where a map is expected"
                continue
            for option, value in cast("Mapping[str, Any]", options or {}).items():
                for_kind = KINDS.get(option)
                if for_kind is not None and not for_kind[0](value):
                    yield f"{option} ({value!r:.80}) in the step {name!r} of {file}, where {for_kind[1]} is expected"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= ANY


def _is_index(value: Any) -> bool:
    return type(value) is int and abs(value) <= ANY


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _list_of(each: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(each, cast("list[Any]", value)))


def _or_null(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


def _are_sides(value: Any) -> bool:
    """Height and width of a picture that has room in memory."""
    return _list_of(_is_count)(value) and len(value) == 2 and 3 * math.prod(value) <= PIXELS


def _are_crops(value: Any) -> bool:
    """For each picture top, left, height and width."""
    return _is_map(value) and all(
        _list_of(_is_index)(crop) and len(crop) == 4 and min(crop[:2]) >= 0 and _are_sides(crop[2:])
        for crop in value.values()
    )


def _are_features(value: Any) -> bool:
    return _is_map(value) and all(
        _is_map(feature) and _is_text(feature.get("type")) and _list_of(_is_count)(feature.get("shape"))
        for feature in value.values()
    )


def _are_names(value: Any) -> bool:
    return _is_map(value) and all(
        _is_text(name) and name not in _NO_FEATURE for renamed in value.items() for name in renamed
    )


Kind = tuple[Callable[[Any], bool], str]

_COUNT: Kind = _is_count, f"a whole number from 1 to {ANY:,}"
_COUNT_OR_NULL: Kind = _or_null(_is_count), f"a whole number from 1 to {ANY:,}, or null,"
_INDEX: Kind = _or_null(_is_index), "a whole number"
_INDICES: Kind = _or_null(_list_of(_is_index)), "a list of whole numbers"
_FLAG: Kind = (lambda value: isinstance(value, bool)), "true or false"
_NUMBER: Kind = _or_null(_is_number), "a number"
_NUMBERS: Kind = _or_null(_list_of(_is_number)), "a list of numbers"
_TEXT: Kind = _or_null(_is_text), "a text"
_TEXTS: Kind = _or_null(_list_of(_is_text)), "a list of texts"
_MAP: Kind = _or_null(_is_map), "a map"
_SIDES: Kind = _or_null(_are_sides), f"[height, width] of a picture of at most {PIXELS // 3:,} pixels"

_LISTED: Mapping[Kind, str] = {
    _COUNT: "action_dim action_horizon chunk_size expected_action_dim max_action_dim max_length max_state_dim "
    "num_state_tokens state_horizon valid_action_horizon",
    _COUNT_OR_NULL: "max_sequence_length shortest_image_edge video_horizon",
    _INDEX: "domain_id env_action_dim gripper_dim gripper_index",
    _FLAG: "add_control_tokens add_setup_tokens allow_image_key_fallback binarize_gripper clip_normalized_action "
    "clip_outliers enabled formalize_language letter_box_transform libero_gripper_action libero_gripper_binarize "
    "normalize_language normalize_min_max truncation use_albumentations use_fast_processor use_percentiles "
    "use_relative_action validate_range",
    _NUMBER: "crop_fraction gripper_above_threshold_value gripper_below_threshold_value gripper_threshold "
    "image_max_pixels image_min_pixels state_dropout_prob threshold",
    _INDICES: "toggle_dimensions",
    _NUMBERS: "joint_offsets joint_signs",
    _TEXT: "action_decode_transform action_mode checkpoint_revision control_mode device embodiment_tag setup_type",
    _TEXTS: "action_names exclude_joints image_keys normalize_observation_keys video_modality_keys",
    _MAP: "embodiment_mapping input_features modality_config raw_stats",
    _SIDES: "image_crop_size image_target_size resize_size",
}

#: Option → whether a value can be one of it, and what is expected of it. The others are seen to elsewhere.
KINDS: Mapping[str, Kind] = {
    **{option: kind for kind, options in _LISTED.items() for option in options.split()},
    "crop_params_dict": (_or_null(_are_crops), "a map of pictures to [top, left, height, width]"),
    "features": (_are_features, "a map of names to their type and shape"),
    "float_dtype": ((lambda value: value is None or value in _DTYPES), f"one of {', '.join(_DTYPES)}"),
    "norm_map": (_is_map, "a map"),
    "padding": ((lambda value: value in ("max_length", "longest")), "max_length or longest"),
    "padding_side": ((lambda value: value in ("left", "right")), "left or right"),
    "rename_map": (_are_names, "a map of the data set's names of features to the policy's"),
}
