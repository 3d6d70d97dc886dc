"""What the versions of LeRobot write into a checkpoint, and what of it the installed one can honour.

LeRobot writes every field of its config, needed or not, and refuses to read one that it does not know, whatever its
value, when the policy is loaded. Here it is seen before, without LeRobot, from the names alone: a field that asks for
nothing is left out, any other is named. ``releases.json`` holds what two releases know, as ``tools/lerobot_fields.py``
read it out of them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files as resources
from typing import Any, cast

from offboard_client.errors import LoadFailed

from .files import CONFIG, Files


@dataclass(frozen=True)
class Release:
    """A release of LeRobot. ``types``: policy type → field of its config → default; ``steps``: names of processors."""

    name: str
    types: Mapping[str, Mapping[str, Any]]
    steps: Mapping[str, Sequence[str]]
    features: Sequence[str]
    normalizations: Sequence[str]


@functools.cache
def releases() -> tuple[Release, ...]:
    """Those that are served, oldest first."""
    table = json.loads(resources("offboard_lerobot").joinpath("releases.json").read_text("utf-8"))
    return tuple(Release(name, **row) for name, row in table.items())


@functools.cache
def installed() -> Release:
    """What the LeRobot of this environment knows. Raises LoadFailed where there is none, or one that is not served."""
    old, new = releases()
    try:
        there = version("lerobot")
    except PackageNotFoundError:
        raise LoadFailed("LeRobot is not installed here: pip install lerobot", permanent=True) from None
    major, minor = (int(part) for part in there.split(".")[:2])
    if (major, minor) == (0, 4):
        return old
    if (major, minor) >= (0, 6):
        return new
    raise LoadFailed(
        f"this is LeRobot {there}; {old.name} and {new.name} are served. Install one of them", permanent=True
    )


#: Types that answer no actions, though LeRobot calls them policies → what they are.
NO_POLICIES = {"reward_classifier": "it judges what it sees", "sarm": "it judges how far a task is"}
#: Fields that say how a policy was trained or where it came from, whatever they hold.
_ABOUT_TRAINING = {"gradient_checkpointing", "pretrained_revision"}
#: Fields of newer releases → the value at which a policy does what it always did before there was the field.
_AS_BEFORE: Mapping[str, Any] = {"use_relative_actions": False, "vision_attn_implementation": "auto"}
#: Fields that say nothing of their own: of what one of :data:`_AS_BEFORE` switches off.
_OF_ANOTHER = {"relative_exclude_joints": "use_relative_actions", "action_feature_names": "use_relative_actions"}
#: The fields by which a version is told.
_SINCE = {"pretrained_revision": "0.6 or newer"}

_NORMALIZER = {"features", "norm_map", "eps", "normalize_observation_keys"}
_IMAGES = {"image_keys"}
_STATE_AS_TEXT = {"max_state_dim", "task_key"}
#: The steps of a processor that are run → their options. Others run code that a checkpoint names, or belong to a robot
#: or to training.
STEPS: Mapping[str, set[str]] = {
    "absolute_actions_processor": {"enabled"},
    "device_processor": {"device", "float_dtype"},
    "image_crop_resize_processor": {"crop_params_dict", "resize_size"},
    "normalizer_processor": _NORMALIZER,
    "pi05_prepare_state_tokenizer_processor_step": _STATE_AS_TEXT,
    "pi0_fast_prepare_state_tokenizer_processor_step": _STATE_AS_TEXT,
    "pi0_new_line_processor": set(),
    "relative_actions_processor": {"enabled", "exclude_joints", "action_names"},
    "rename_observations_processor": {"rename_map"},
    "smolvla_new_line_processor": set(),
    "to_batch_processor": set(),
    "to_batch_processor_action": set(),
    "to_batch_processor_complementary_data": set(),
    "to_batch_processor_observation": set(),
    "tokenizer_processor": {"tokenizer_name", "max_length", "task_key", "padding_side", "padding", "truncation"},
    "unnormalizer_processor": _NORMALIZER,
    "xvla_add_domain_id": {"domain_id"},
    "xvla_image_scale": _IMAGES,
    "xvla_image_to_float": _IMAGES | {"validate_range"},
    "xvla_imagenet_normalize": _IMAGES,
    "xvla_rotation_6d_to_axis_angle": {"expected_action_dim"},
}
#: Steps that do nothing where there is no action yet, and may fetch much for that.
_FOR_TRAINING = {"action_tokenizer_processor"}
_FEATURES = ("input_features", "output_features")
_DESCRIPTION = ("type", "shape")


def served() -> list[str]:
    """The policy types that the installed LeRobot brings, by name."""
    return sorted(installed().types.keys() - NO_POLICIES.keys())


def understood(files: Files) -> Files:
    """The same checkpoint without what asks for nothing. Raises LoadFailed that names what the installed LeRobot lacks.

    For the policy types of :func:`served`.
    """
    here = installed()
    known = here.types[files.type]
    foreign = list(_foreign(files, here))
    if foreign:
        there = version("lerobot")
        raise LoadFailed(
            f"{files.location} was written by {_writer(files.config)}, this is LeRobot {there}, which does not "
            f"know {', '.join(foreign)}. Train it with LeRobot {there}, or, if nothing that it computes depends on "
            "that, take it out of the file"
        )
    config = {name: value for name, value in files.config.items() if name in known}
    for key in _FEATURES:
        config[key] = {
            feature: {name: described[name] for name in _DESCRIPTION} for feature, described in config[key].items()
        }
    steps = {
        name: [_plain(step) for step in listed if step["registry_name"] in STEPS and _wanted(step, here)]
        for name, listed in files.steps.items()
    }
    return replace(files, config=config, steps=steps)


def _foreign(files: Files, here: Release) -> Iterator[str]:
    config = files.config
    for name, value in config.items():
        if name not in here.types[files.type] and not _asks_for_nothing(name, value, config):
            yield f"the field {name!r} of {CONFIG} ({value!r:.40})"
    for key in _FEATURES:
        for feature, described in config[key].items():
            if described["type"] not in here.features:
                yield f"the type {described['type']!r} of {feature}"
            more = (name for name in described if name not in _DESCRIPTION and not _is_neutral(described[name]))
            yield from (f"{name!r} of {feature}" for name in more)
    yield from _normalizations(config.get("normalization_mapping"), CONFIG, here)
    for file, steps in files.steps.items():
        for step in steps:
            yield from _foreign_step(step, file, here)


def _asks_for_nothing(name: str, value: Any, config: Mapping[str, Any]) -> bool:
    if name in _ABOUT_TRAINING or _is_neutral(value):
        return True
    if name in _OF_ANOTHER:
        name, value = _OF_ANOTHER[name], config.get(_OF_ANOTHER[name])
    return name in _AS_BEFORE and value == _AS_BEFORE[name]


def _wanted(step: Mapping[str, Any], here: Release) -> bool:
    """Whether a step does something, so far as the installed LeRobot has to be asked for it."""
    return step["registry_name"] in here.steps or _options(step).get("enabled") is not False


def _foreign_step(step: Mapping[str, Any], file: str, here: Release) -> Iterator[str]:
    name, options = step["registry_name"], _options(step)
    if name in _FOR_TRAINING:
        return
    if name not in STEPS or name not in here.steps:
        if options.get("enabled") is not False:
            yield f"the step {name!r} of {file} (here are run: {', '.join(n for n in STEPS if n in here.steps)})"
        return
    for option, value in options.items():
        if option not in STEPS[name] and not _is_neutral(value):
            yield f"the option {option!r} of the step {name!r} of {file}"
    yield from _normalizations(options.get("norm_map"), file, here)


def _normalizations(modes: Any, file: str, here: Release) -> Iterator[str]:
    for kind, mode in _map(modes).items():
        if not isinstance(mode, str) or mode not in here.normalizations:
            yield f"the normalization {mode!r} of {kind} in {file}"


def _plain(step: Mapping[str, Any]) -> dict[str, Any]:
    known = STEPS[step["registry_name"]]
    return {**step, "config": {name: value for name, value in _options(step).items() if name in known}}


def _options(step: Mapping[str, Any]) -> Mapping[str, Any]:
    return _map(step.get("config"))


def _map(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _is_neutral(value: Any) -> bool:
    """Whether a field that nobody here knows asks for nothing: it is null or empty.

    A number or a flag is no such thing: false may switch off what the installed version always does.
    """
    return value is None or (isinstance(value, (str, Sequence, Mapping)) and not value)


def _writer(config: Mapping[str, Any]) -> str:
    found = next((since for name, since in _SINCE.items() if name in config), None)
    return "another version of LeRobot" if found is None else f"LeRobot {found}"
