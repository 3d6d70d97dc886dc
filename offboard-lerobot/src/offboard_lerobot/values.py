"""Of what kind the values in a checkpoint's config must be, told by the defaults of the release that is to read them.

LeRobot looks when a policy is loaded, and at some of it never: a text in place of a number, or a chunk of -1 steps, is
told before the server listens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from .features import CONFIG
from .files import Files
from .sizes import ANY
from .versions import Release
from .words import word_of

#: Fields with a default that may be null as well.
_OR_NULL = frozenset((
    "action_decode_transform", "action_tokenizer_path", "base_model_id", "crop_shape", "dataset_stats",
    "image_crop_shape", "image_max_pixels", "image_min_pixels", "inference_seed", "input_features", "output_features",
    "pretrained_backbone_weights", "proprio_dim", "vlm_num_layers",
))  # fmt: skip
#: Fields whose default is from 1 on, and that may be less: what counts from 0, and what is switched off so.
_ANY_NUMBER = frozenset((
    "default_embodiment_id", "fast_skip_tokens", "gripper_dim", "gripper_index", "inference_seed", "lora_rank",
    "n_vae_encoder_layers", "num_vlm_layers", "self_attn_every_n_layers",
))  # fmt: skip
#: Fields that LeRobot declares of another kind than their default has: a config that was read and saved again has that.
_SAVED_AGAIN: Mapping[str, Any] = {"optimizer_grad_clip_norm": 10.0, "replace_final_stride_with_dilation": 0}
#: What robots act upon, of whatever type: no release says of what kind it is in a third party's.
_ANNOUNCED: Mapping[str, Any] = {"n_action_steps": 1, "n_obs_steps": 1}
#: How strongly real-time chunking may guide at most; LeRobot's own is 10.
MOST_WEIGHT = 1000.0
#: Of an rtc_config: whether a value can be, and what is expected.
_GUIDANCE: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "enabled": ((lambda value: isinstance(value, bool)), "true or false is"),
    "debug": ((lambda value: isinstance(value, bool)), "true or false is"),
    "debug_maxlen": ((lambda value: type(value) is int and value > 0), "a number from 1 on is"),
    "execution_horizon": (
        (lambda value: type(value) is int and 1 <= value <= ANY),
        f"a whole number from 1 to {ANY:,} is",
    ),
    "max_guidance_weight": (
        (lambda value: type(value) in (int, float) and 0 < value <= MOST_WEIGHT),
        f"a number above 0, of at most {MOST_WEIGHT:g}, is",
    ),
    "prefix_attention_schedule": (
        (lambda value: value in ("ZEROS", "ONES", "LINEAR", "EXP")),
        "ZEROS, ONES, LINEAR or EXP is",
    ),
}


def wrong(files: Files, here: Release) -> Iterator[str]:
    """Each value of its config that is of another kind than this release takes there."""
    defaults = here.types.get(files.type, _ANNOUNCED)
    for name, value in files.config.items():
        expected = _expected(defaults[name], name, value) if name in defaults else None
        if expected is not None and name in _SAVED_AGAIN and not isinstance(value, bool):
            expected = _expected(_SAVED_AGAIN[name], name, value)
        if expected is None and word_of(files.type, name) != "training" and not _is_finite(value):
            expected = "finite numbers are"
        if expected is None and name in ("temporal_ensemble_coeff", "rtc_config") and value is not None:
            expected = _expected(0.0 if name == "temporal_ensemble_coeff" else {}, name, value)
        if expected is None and name == "rtc_config" and value is not None:
            yield from _unguided(cast("Mapping[str, Any]", value))
        if expected is not None:
            yield f"{name} ({value!r:.40}) in {CONFIG}, where {expected} expected"
        elif type(value) is int and value < 1 and _is_count(defaults.get(name), files.type, name):
            yield f"{name} ({value!r:.40}) in {CONFIG}, where a number from 1 on is expected"
    played, predicted = (files.config.get(name) for name in ("n_action_steps", "chunk_size"))
    if type(played) is int and type(predicted) is int and played > predicted > 0:
        yield f"n_action_steps ({played}) in {CONFIG}, which is more than its chunks have: chunk_size is {predicted}"


def _unguided(said: Mapping[str, Any]) -> Iterator[str]:
    for name, value in said.items():
        can_be, expected = _GUIDANCE.get(name, ((lambda _: True), ""))
        if not can_be(value):
            yield f"{name} ({value!r:.40}) in rtc_config in {CONFIG}, where {expected} expected"


def _expected(default: Any, name: str, value: Any) -> str | None:
    """What is expected where a field has this default, and what comes is none of that."""
    if value is None:
        return None if default is None or name in _OR_NULL else "null is not"
    for kinds, expected in (
        (bool, "true or false is"),
        (int, "a whole number is"),
        (float, "a number is"),
        (str, "a text is"),
        (list, "a list is"),
        (dict, "a map is"),
    ):
        if isinstance(default, kinds):
            taken = (int, float) if kinds is float else kinds
            return None if isinstance(value, taken) and isinstance(value, bool) == (kinds is bool) else expected
    return None


def _is_count(default: Any, kind: str, name: str) -> bool:
    return type(default) is int and default > 0 and name not in _ANY_NUMBER and word_of(kind, name) != "training"


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, cast("Mapping[str, Any]", value).values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_is_finite, cast("Sequence[Any]", value)))
    return not isinstance(value, float) or math.isfinite(value)
