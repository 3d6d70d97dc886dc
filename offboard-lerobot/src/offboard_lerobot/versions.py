"""What other versions of LeRobot write into a checkpoint, and what of it the installed one can honour.

LeRobot writes every field of its config, needed or not, and refuses to read one that it does not know, whatever its
value, when the policy is loaded. Here it is seen before, without LeRobot, from the names alone: a field that asks for
nothing is left out, any other is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any, cast

from offboard_client.errors import LoadFailed

from .files import CONFIG, Files

_EVERY = {
    "device", "input_features", "license", "n_obs_steps", "normalization_mapping", "output_features",
    "pretrained_backbone_weights", "pretrained_path", "private", "push_to_hub", "repo_id", "tags", "type", "use_amp",
    "use_peft", "vision_backbone", "n_action_steps", "optimizer_lr", "optimizer_weight_decay",
}  # fmt: skip
#: The policy types that are served (others keep other state, or need libraries that cannot be installed) → the fields
#: of their configs in LeRobot 0.4.
FIELDS: Mapping[str, set[str]] = {
    "act": _EVERY | {
        "chunk_size", "dim_feedforward", "dim_model", "dropout", "feedforward_activation", "kl_weight", "latent_dim",
        "n_decoder_layers", "n_encoder_layers", "n_heads", "n_vae_encoder_layers", "optimizer_lr_backbone", "pre_norm",
        "replace_final_stride_with_dilation", "temporal_ensemble_coeff", "use_vae",
    },
    "diffusion": _EVERY | {
        "beta_end", "beta_schedule", "beta_start", "clip_sample", "clip_sample_range", "compile_mode", "compile_model",
        "crop_is_random", "crop_ratio", "crop_shape", "diffusion_step_embed_dim", "do_mask_loss_for_padding",
        "down_dims", "drop_n_last_frames", "horizon", "kernel_size", "n_groups", "noise_scheduler_type",
        "num_inference_steps", "num_train_timesteps", "optimizer_betas", "optimizer_eps", "prediction_type",
        "resize_shape", "scheduler_name", "scheduler_warmup_steps", "spatial_softmax_num_keypoints",
        "use_film_scale_modulation", "use_group_norm", "use_separate_rgb_encoder_per_camera",
    },
}  # fmt: skip
#: Newer fields that say how a policy was trained or where it came from, whatever they hold.
_ABOUT_TRAINING = {"gradient_checkpointing", "pretrained_revision"}
#: The fields by which a version is told.
_SINCE = {"pretrained_revision": "0.6 or newer", "gradient_checkpointing": "0.6 or newer"}

_NORMALIZER = {"features", "norm_map", "eps", "normalize_observation_keys"}
#: The steps of a processor that are run → their options. Others of LeRobot's load tokenizers, from the Hub and with
#: code of their own if the checkpoint says so, or belong to a robot.
STEPS: Mapping[str, set[str]] = {
    "device_processor": {"device", "float_dtype"},
    "image_crop_resize_processor": {"crop_params_dict", "resize_size"},
    "normalizer_processor": _NORMALIZER,
    "rename_observations_processor": {"rename_map"},
    "to_batch_processor": set(),
    "to_batch_processor_action": set(),
    "to_batch_processor_complementary_data": set(),
    "to_batch_processor_observation": set(),
    "unnormalizer_processor": _NORMALIZER,
}
_FEATURES = ("input_features", "output_features")
_DESCRIPTION = ("type", "shape")
FEATURE_TYPES = {"ACTION", "ENV", "LANGUAGE", "REWARD", "STATE", "VISUAL"}
NORMALIZATIONS = {"IDENTITY", "MEAN_STD", "MIN_MAX", "QUANTILE10", "QUANTILES"}


def understood(files: Files) -> Files:
    """The same checkpoint without what asks for nothing. Raises LoadFailed that names what the installed LeRobot lacks.

    For the policy types in :data:`FIELDS`.
    """
    foreign = list(_foreign(files))
    if foreign:
        installed = version("lerobot")
        raise LoadFailed(
            f"{files.location} was written by {_writer(files.config)}, this is LeRobot {installed}, which does not "
            f"know {', '.join(foreign)}. Train it with LeRobot {installed}, or, if nothing that it computes depends on "
            "that, take it out of the file"
        )
    config = {name: value for name, value in files.config.items() if name in FIELDS[files.type]}
    for key in _FEATURES:
        config[key] = {
            feature: {name: described[name] for name in _DESCRIPTION} for feature, described in config[key].items()
        }
    steps = {
        name: [_plain(step) for step in listed if step["registry_name"] in STEPS]
        for name, listed in files.steps.items()
    }
    return replace(files, config=config, steps=steps)


def _foreign(files: Files) -> Iterator[str]:
    config = files.config
    known = FIELDS[files.type] | _ABOUT_TRAINING
    for name, value in config.items():
        if name not in known and not _is_neutral(value):
            yield f"the field {name!r} of {CONFIG} ({value!r:.40})"
    for key in _FEATURES:
        for feature, described in config[key].items():
            if described["type"] not in FEATURE_TYPES:
                yield f"the type {described['type']!r} of {feature}"
            more = (name for name in described if name not in _DESCRIPTION and not _is_neutral(described[name]))
            yield from (f"{name!r} of {feature}" for name in more)
    yield from _normalizations(config.get("normalization_mapping"), CONFIG)
    for file, steps in files.steps.items():
        for step in steps:
            yield from _foreign_step(step, file)


def _foreign_step(step: Mapping[str, Any], file: str) -> Iterator[str]:
    name, options = step["registry_name"], _options(step)
    if name not in STEPS:
        if options.get("enabled") is not False:
            yield f"the step {name!r} of {file} (here are run: {', '.join(STEPS)})"
        return
    for option, value in options.items():
        if option not in STEPS[name] and not _is_neutral(value):
            yield f"the option {option!r} of the step {name!r} of {file}"
    yield from _normalizations(options.get("norm_map"), file)


def _normalizations(modes: Any, file: str) -> Iterator[str]:
    for kind, mode in _map(modes).items():
        if not isinstance(mode, str) or mode not in NORMALIZATIONS:
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
