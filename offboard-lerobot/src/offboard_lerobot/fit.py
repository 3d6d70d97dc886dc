"""Whether the weights beside a config have the sizes that it says, where the name of a tensor tells.

A load finds all that does not fit, with the policy made; here it is told before the server listens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .features import CONFIG
from .files import Files

_STATE, _ACTION = "observation.state", "action"
_PI = {"max_action_dim": ("model.action_in_proj.weight", 1), "max_state_dim": ("model.state_proj.weight", 1)}
#: Type → field, or feature of one axis → a tensor with an axis of that length, and which. Of a list each has its own.
_AXES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "act": {
        _ACTION: ("model.action_head.weight", 0),
        _STATE: ("model.encoder_robot_state_input_proj.weight", 1),
        "chunk_size": ("model.decoder_pos_embed.weight", 0),
        "dim_feedforward": ("model.decoder.layers.0.linear1.weight", 0),
        "dim_model": ("model.action_head.weight", 1),
        "latent_dim": ("model.encoder_latent_input_proj.weight", 1),
    },
    "diffusion": {
        _ACTION: ("diffusion.unet.final_conv.1.weight", 0),
        "diffusion_step_embed_dim": ("diffusion.unet.diffusion_step_encoder.1.weight", 1),
        "down_dims": ("diffusion.unet.down_modules.{}.0.conv1.block.0.weight", 0),
        "kernel_size": ("diffusion.unet.down_modules.0.0.conv1.block.0.weight", 2),
        "spatial_softmax_num_keypoints": ("diffusion.rgb_encoder.pool.nets.weight", 0),
    },
    "eo1": _PI,
    "evo1": {
        "embed_dim": ("model.action_head.time_pos_enc.pe", 2),
        "max_action_dim": ("model.action_head.action_encoder.W1.linear.weight", 1),
        "max_state_dim": ("model.action_head.state_encoder.fc1.linear.weight", 1),
        "state_hidden_dim": ("model.action_head.state_encoder.fc1.linear.weight", 0),
    },
    "multi_task_dit": {
        _ACTION: ("noise_predictor.input_proj.weight", 1),
        "timestep_embed_dim": ("noise_predictor.time_mlp.1.weight", 1),
    },
    "pi0": _PI,
    "pi05": _PI,
    "smolvla": _PI,
    "tdmpc": {
        _ACTION: ("model._pi.6.weight", 0),
        _STATE: ("model._encoder.state_enc_layers.0.weight", 1),
        "mlp_dim": ("model._dynamics.0.weight", 0),
        "state_encoder_hidden_dim": ("model._encoder.state_enc_layers.0.weight", 0),
    },
    "vqbet": {
        _STATE: ("vqbet.state_projector.0.weight", 1),
        "action_chunk_size": ("vqbet.select_target_actions_indices", 1),
        "gpt_block_size": ("vqbet.policy.transformer.wpe.weight", 0),
        "gpt_hidden_dim": ("vqbet.policy.transformer.wpe.weight", 1),
        "gpt_input_dim": ("vqbet.state_projector.0.weight", 0),
        "gpt_output_dim": ("vqbet.policy.lm_head.weight", 0),
        "spatial_softmax_num_keypoints": ("vqbet.rgb_encoder.pool.nets.weight", 0),
        "vqvae_enc_hidden_dim": ("vqbet.action_head.vqvae_model.encoder.0.weight", 0),
    },
}
#: Type → field that says how many there are of something → what the names of their tensors begin with.
_COUNTS: Mapping[str, Mapping[str, str]] = {
    "act": {"n_decoder_layers": "model.decoder.layers.", "n_encoder_layers": "model.encoder.layers."},
    "multi_task_dit": {"num_layers": "noise_predictor.transformer_blocks."},
    "tdmpc": {"q_ensemble_size": "model._Qs."},
    "vqbet": {"gpt_n_layer": "vqbet.policy.transformer.h."},
}
_DO = "Take the config that was saved with these weights"


def refused(files: Files) -> Iterator[str]:
    """What its weights have otherwise."""
    for field, (tensor, axis) in _AXES.get(files.type, {}).items():
        for number, said in enumerate(_sizes(files, field)):
            name = tensor.format(number)
            shape = cast("Mapping[str, Any]", files.tensors.get(name, {})).get("shape", ())
            if axis < len(shape) and shape[axis] != said:
                yield f"{field} ({said}) in {CONFIG}, and {name} of its weights is {list(shape)}. {_DO}"
    for field, begin in _COUNTS.get(files.type, {}).items():
        there = {found[1] for name in files.tensors if (found := re.match(rf"{re.escape(begin)}(\d+)\.", name))}
        for said in _sizes(files, field):
            if there and len(there) != said:
                yield f"{field} ({said}) in {CONFIG}, and its weights have {len(there)} of {begin}*. {_DO}"


def _sizes(files: Files, field: str) -> list[int]:
    """What the config says of them; nothing where that is left to LeRobot."""
    feature = {**files.config["input_features"], **files.config["output_features"]}.get(field)
    said = feature["shape"] if feature is not None else files.config.get(field)
    return [said] if type(said) is int else [each for each in said or () if type(each) is int]


__all__ = ["refused"]
