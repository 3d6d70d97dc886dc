"""What a policy's class or network refuses of its config's values together, though each by itself could be.

LeRobot says it when a policy is loaded, or makes less of it than is said; here it is told before the server listens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from .features import CONFIG, EMPTY, STATE
from .files import Files
from .plugins import is_third_party

#: Types that look back as far as they say. All others look at one observation, whatever they say.
_LOOK_BACK = ("diffusion", "multi_task_dit", "vqbet")
_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_GEMMAS = ("gemma_300m", "gemma_2b")
_FLOATS = ("bfloat16", "float32")
_DENOISED = {"noise_scheduler_type": ("DDPM", "DDIM"), "prediction_type": ("epsilon", "sample")}
_PI0 = {"action_expert_variant": _GEMMAS, "dtype": _FLOATS, "paligemma_variant": _GEMMAS}
#: Type → field → the values that LeRobot takes there.
_ONE_OF: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "act": {"vision_backbone": _RESNETS},
    "diffusion": {"vision_backbone": _RESNETS, **_DENOISED},
    "multi_task_dit": {"objective": ("diffusion", "flow_matching")},
    "pi0": _PI0,
    "pi05": _PI0,
    "pi0_fast": {"dtype": _FLOATS, "paligemma_variant": _GEMMAS},
    "vqbet": {"vision_backbone": _RESNETS},
    "wall_x": {"attn_implementation": ("eager",)},
    "xvla": {"dtype": _FLOATS},
}
#: Type → the field that bounds how many steps are played of a chunk, beside chunk_size.
_BOUNDS = {"fastwam": "action_horizon", "tdmpc": "horizon"}
#: Type → how many cameras it has, from and to.
_CAMERAS: Mapping[str, tuple[int, int | None]] = {
    **dict.fromkeys(("eo1", "evo1", "fastwam", "groot", "molmoact2", "pi0", "pi05", "pi0_fast"), (1, None)),
    **dict.fromkeys(("smolvla", "vla_jepa", "wall_x", "xvla"), (1, None)),
    "tdmpc": (0, 1),
    "vqbet": (1, 1),
}
#: Types whose networks look at the state, whatever else there is. Others do without, or add it to their inputs.
_STATE = ("diffusion", "multi_task_dit", "smolvla", "vqbet")
#: Types that put the pictures of all cameras into one array.
_STACKED = ("diffusion", "gaussian_actor", "groot", "multi_task_dit", "sac", "vqbet")


def refused(files: Files) -> Iterator[str]:
    """What is said, and cannot be together."""
    kind, config = files.type, files.config
    if is_third_party(kind):
        return
    looks = config.get("n_obs_steps", 1)
    if kind not in _LOOK_BACK and looks != 1:
        yield f"n_obs_steps ({looks}) in {CONFIG}: a policy of the type {kind} looks at 1 observation, and no other"
    for field, values in _ONE_OF.get(kind, {}).items():
        if field in config and config[field] not in values:
            yield f"{field} ({config[field]!r:.40}) in {CONFIG}, where {', '.join(values)} can be"
    if (played := config.get("n_action_steps")) is not None:
        yield from _unplayable(kind, config, played)
    wide, heads = config.get("dim_model", 512), config.get("n_heads", 8)
    if kind == "act" and wide % heads:
        yield f"dim_model ({wide}) in {CONFIG}, which is no multiple of n_heads ({heads})"
    for field in ("image_min_pixels", "image_max_pixels") if kind == "eo1" else ():
        if field in config and config[field] is None:
            yield f"{field} (None) in {CONFIG}, where a whole number is expected"
    layers, experts = config.get("num_vlm_layers", 16), config.get("num_expert_layers", -1)
    if kind == "smolvla" and "cross" not in config.get("attention_mode", "cross_attn") and 0 < experts < layers:
        yield f"num_expert_layers ({experts}) in {CONFIG}, which is num_vlm_layers ({layers}) without cross attention"
    yield from _unseen(files)


def _unplayable(kind: str, config: Mapping[str, Any], played: int) -> Iterator[str]:
    """What of the steps that are to be played no inference answers."""
    if kind == "act" and config.get("temporal_ensemble_coeff") is not None and played != 1:
        yield f"n_action_steps ({played}) in {CONFIG}, which is 1 with a temporal_ensemble_coeff"
    if kind in _BOUNDS and played > (most := config.get(_BOUNDS[kind], played)):
        yield f"n_action_steps ({played}) in {CONFIG}, and its {_BOUNDS[kind]} is {most}"
    horizon = config.get("horizon")
    if kind in ("diffusion", "multi_task_dit") and horizon is not None:
        if played > (most := horizon - config.get("n_obs_steps", 2) + 1):
            yield f"n_action_steps ({played}) in {CONFIG}, and of its horizon ({horizon}) only {most} are still to come"
        halved = 2 ** len(config.get("down_dims", ())) if kind == "diffusion" else 1
        if horizon % halved:
            yield f"horizon ({horizon}) in {CONFIG}, which is no multiple of {halved}, as its down_dims want it"
    if kind == "tdmpc" and played > 1:
        for field, must in (("n_action_repeats", 1), ("use_mpc", True)):
            if config.get(field, must) != must:
                yield f"{field} ({config[field]}) in {CONFIG}, which is {must} where n_action_steps is above 1"


def _unseen(files: Files) -> Iterator[str]:
    """What it is to look at, and cannot."""
    kind, config = files.type, files.config
    inputs: Mapping[str, Any] = config["input_features"]
    pictures = {
        name: cast("list[int]", of["shape"])
        for name, of in inputs.items()
        if of["type"] == "VISUAL" and EMPTY not in name
    }
    if kind in _STATE and files.seen.get(STATE, {}).get("type") != "STATE":
        yield f"no {STATE} among the input_features of {CONFIG}, and a policy of the type {kind} needs it"
    least, most = _CAMERAS.get(kind, (0, None))
    if len(pictures) < least or (most is not None and len(pictures) > most):
        expected = f"{least} or more" if most is None else f"{least}" if most == least else f"{least} or {most}"
        yield f"{len(pictures)} cameras among the input_features of {CONFIG}, where {expected} can be"
    if kind in ("act", "diffusion") and not pictures and all(of["type"] != "ENV" for of in inputs.values()):
        yield f"neither a camera nor the environment's state among the input_features of {CONFIG}, and it needs one"
    if kind in _STACKED and len({tuple(shape) for shape in pictures.values()}) > 1:
        yield f"cameras of different sizes among the input_features of {CONFIG}, which it takes for equal"
    if kind == "tdmpc" and any(shape[-1] != shape[-2] for shape in pictures.values() if len(shape) > 1):
        yield f"a camera among the input_features of {CONFIG} that is not square, as it wants it"
    crop = config.get("crop_shape")
    if kind in ("diffusion", "vqbet") and crop and len(crop) == 2 and not config.get("resize_shape"):
        for name, shape in pictures.items():
            if any(side > of for side, of in zip(crop, shape[-2:], strict=False)):
                yield f"crop_shape ({crop}) in {CONFIG}, which is no part of {name} {shape}"


__all__ = ["refused"]
