"""LeRobot checkpoints for tests: tiny policies with random weights, written by LeRobot itself; or just the files."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import importlib.util
import json
import shutil
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 64
INPUTS = {
    "observation.state": ("STATE", (8,)),
    "observation.images.left": ("VISUAL", (3, SIDE, SIDE)),
    "observation.images.side": ("VISUAL", (3, SIDE, SIDE)),
}
#: Types that take one camera → its name. LeRobot's TD-MPC fails at any other.
ONE_CAMERA = {"tdmpc": "observation.image", "vqbet": "observation.images.left"}
#: Types that name models on the Hub, which :mod:`lerobot_backbones` has.
NAME_OTHERS = {
    "eo1",
    "evo1",
    "groot",
    "multi_task_dit",
    "pi0",
    "pi05",
    "pi0_fast",
    "smolvla",
    "vla_jepa",
    "wall_x",
    "xvla",
}
#: Types that LeRobot 0.4 makes with a transformers of their own alone.
OLD_ONES_WANT_OTHERS = {"groot", "pi0", "pi05", "pi0_fast", "wall_x"}
OUTPUTS = {"action": ("ACTION", (8,))}
SETTINGS: dict[str, dict[str, Any]] = {
    "act": {
        "chunk_size": 16, "n_action_steps": 16, "dim_model": 32, "n_heads": 2, "dim_feedforward": 32,
        "n_encoder_layers": 1, "n_vae_encoder_layers": 1, "latent_dim": 4, "pretrained_backbone_weights": None,
    },
    "diffusion": {
        "down_dims": (16, 32), "n_groups": 4, "diffusion_step_embed_dim": 8, "spatial_softmax_num_keypoints": 4,
        "num_train_timesteps": 4, "pretrained_backbone_weights": None, "horizon": 16, "n_action_steps": 8,
        # 0.6 has another default for either.
        "use_group_norm": True, "use_separate_rgb_encoder_per_camera": False,
    },
    "eo1": {
        "vlm_base": "tiny/qwen2.5-vl", "image_min_pixels": 28 * 28, "image_max_pixels": 56 * 56, "chunk_size": 6,
        "n_action_steps": 4, "max_state_dim": 12, "max_action_dim": 12, "num_denoise_steps": 3, "dtype": "float32",
    },
    "evo1": {
        "vlm_model_name": "tiny/internvl", "image_resolution": (28, 28), "vlm_num_layers": 1, "vlm_dtype": "float32",
        "embed_dim": 32, "hidden_dim": 16, "state_hidden_dim": 16, "num_heads": 2, "num_layers": 1, "chunk_size": 6,
        "n_action_steps": 4, "max_state_dim": 12, "max_action_dim": 12, "num_inference_timesteps": 3,
    },
    "fastwam": {
        "tokenizer_model_id": "tiny/umt5", "text_encoder_model_id": "tiny/umt5", "action_dim": 8, "proprio_dim": 8,
        "action_horizon": 8, "n_action_steps": 6, "num_video_frames": 5, "action_video_freq_ratio": 1,
        "image_size": (64, 128), "tokenizer_max_len": 128, "torch_dtype": "float32", "num_inference_steps": 3,
        "inference_seed": None,
        "video_dit_config": {
            "patch_size": [1, 2, 2], "in_dim": 48, "hidden_dim": 24, "ffn_dim": 16, "freq_dim": 8, "text_dim": 16,
            "out_dim": 48, "num_heads": 2, "attn_head_dim": 12, "num_layers": 1, "eps": 1e-6,
            "seperated_timestep": True, "video_attention_mask_mode": "first_frame_causal", "action_conditioned": False,
            "action_dim": 8, "action_group_causal_mask_mode": "group_diagonal",
        },
        "action_dit_config": {
            "action_dim": 8, "hidden_dim": 16, "ffn_dim": 16, "num_heads": 2, "attn_head_dim": 12, "num_layers": 1,
            "text_dim": 16, "freq_dim": 8, "eps": 1e-6,
        },
    },
    "gaussian_actor": {"latent_dim": 8, "image_encoder_hidden_dim": 8, "state_encoder_hidden_dim": 8},
    "groot": {
        "base_model_path": "tiny/gr00t", "chunk_size": 6, "n_action_steps": 4, "max_state_dim": 12,
        "max_action_dim": 12, "num_inference_timesteps": 3, "use_bf16": False,
    },
    "molmoact2": {
        "checkpoint_path": "tiny/molmoact2", "discrete_action_tokenizer": "tiny/molmoact2", "chunk_size": 6,
        "n_action_steps": 4, "action_mode": "continuous", "inference_action_mode": "continuous",
        "num_inference_steps": 3, "model_dtype": "float32",
    },
    "multi_task_dit": {
        "vision_encoder_name": "tiny/clip", "text_encoder_name": "tiny/clip", "tokenizer_max_length": 16,
        "image_crop_shape": (32, 32), "hidden_dim": 16, "num_layers": 1, "num_heads": 2, "timestep_embed_dim": 16,
        "horizon": 8, "n_action_steps": 6, "num_train_timesteps": 4,
    },
    "pi0": {"chunk_size": 6, "n_action_steps": 4, "num_inference_steps": 2, "image_resolution": (28, 28)},
    "pi05": {"chunk_size": 6, "n_action_steps": 4, "num_inference_steps": 2, "image_resolution": (28, 28)},
    "pi0_fast": {
        "chunk_size": 6, "n_action_steps": 6, "image_resolution": (28, 28), "max_decoding_steps": 12,
        "fast_skip_tokens": 0, "validate_action_token_prefix": False, "max_action_tokens": 12,
    },
    "sac": {"latent_dim": 8, "image_encoder_hidden_dim": 8, "state_encoder_hidden_dim": 8},
    "smolvla": {
        "vlm_model_name": "tiny/smolvlm", "resize_imgs_with_padding": (32, 32), "num_vlm_layers": 2, "chunk_size": 6,
        "n_action_steps": 4, "num_steps": 3, "max_state_dim": 12, "max_action_dim": 12,
    },
    "tdmpc": {
        "image_encoder_hidden_dim": 8, "state_encoder_hidden_dim": 16, "latent_dim": 8, "mlp_dim": 16, "horizon": 4,
        "n_gaussian_samples": 16, "n_pi_samples": 4, "n_elites": 4, "cem_iterations": 2, "n_action_repeats": 1,
        "n_action_steps": 3,
    },
    "vla_jepa": {
        "qwen_model_name": "tiny/qwen3-vl", "jepa_encoder_name": "tiny/vjepa2", "chunk_size": 6, "n_action_steps": 4,
        "num_action_tokens_per_timestep": 2, "num_embodied_action_tokens_per_instruction": 3,
        "num_inference_timesteps": 3, "action_hidden_size": 16, "action_model_type": "DiT-test",
        "action_num_layers": 2, "num_video_frames": 4, "predictor_depth": 1, "predictor_num_heads": 2,
        "predictor_mlp_ratio": 1.0,
    },
    "vqbet": {
        "n_obs_steps": 2, "gpt_block_size": 32, "gpt_input_dim": 16, "gpt_output_dim": 16, "gpt_n_layer": 1,
        "gpt_n_head": 2, "gpt_hidden_dim": 16, "spatial_softmax_num_keypoints": 4, "vqvae_n_embed": 4,
        "vqvae_embedding_dim": 8, "vqvae_enc_hidden_dim": 8, "crop_shape": (56, 56),
        "pretrained_backbone_weights": None,
    },
    "wall_x": {
        "pretrained_name_or_path": "tiny/wall-x", "chunk_size": 6, "n_action_steps": 4
    },
    "xvla": {
        "florence_config": {
            "vision_config": {
                "model_type": "davit", "dim_embed": [8, 16], "num_heads": [2, 2], "num_groups": [2, 2],
                "depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
                "patch_prenorm": [False, True], "window_size": 4, "projection_dim": 16, "drop_path_rate": 0.0,
                "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 50},
                "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 10},
                "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
            },
            "text_config": {
                "model_type": "florence2_language", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
                "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
                "decoder_ffn_dim": 16, "vocab_size": 320, "max_position_embeddings": 64,
            },
            "projection_dim": 16,
        },
        "tokenizer_name": "tiny/bart", "tokenizer_max_length": 16, "hidden_size": 16, "depth": 1, "num_heads": 2,
        "num_domains": 3, "len_soft_prompts": 2, "dim_time": 4, "max_len_seq": 128, "chunk_size": 6,
        "n_action_steps": 6, "num_denoising_steps": 2, "action_mode": "auto", "max_state_dim": 8,
        "max_action_dim": 10, "resize_imgs_with_padding": (32, 32),
    },
}  # fmt: skip


#: Type → the layers that an adapter changes, where LeRobot names none itself.
TARGETS = {"act": ["linear1", "linear2"], "diffusion": ["conv1.block.0", "cond_encoder.1"]}


@functools.cache
def kinds() -> list[str]:
    """The policy types that can be made here: of the installed LeRobot, and with transformers those that need it."""
    from offboard_lerobot.versions import served

    there = [kind for kind in SETTINGS if kind in served()]
    if importlib.util.find_spec("transformers") is None:
        return [kind for kind in there if kind not in NAME_OTHERS]
    if not importlib.metadata.version("lerobot").startswith("0.4."):
        return there
    others = {"wall_x"} if importlib.util.find_spec("torchdiffeq") else NAME_OTHERS - OLD_ONES_WANT_OTHERS
    return [kind for kind in there if kind not in NAME_OTHERS or kind in others]


@functools.cache
def imported() -> None:
    """LeRobot, out of the garbage collections that each unloading makes, as what was collected is.

    One takes a fifth of a second with it, and whatever this process tests from then on would pay that. Nor is the help
    for each field of a configuration, which nobody asks for, read out of LeRobot's source more than once: that was
    nearly all that reading a configuration cost, an eighth of a second.
    """
    import offboard_lerobot.policy  # noqa: F401
    from draccus.wrappers import docstring
    from lerobot.policies.factory import get_policy_class

    docstring.get_attribute_docstring = functools.cache(docstring.get_attribute_docstring)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about LeRobot's VQ-BeT
        for kind in kinds():
            get_policy_class(kind)
    gc.collect()
    gc.freeze()


def inputs_of(kind: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What a policy of this type is made to look at."""
    if kind not in ONE_CAMERA:
        return INPUTS
    return {"observation.state": INPUTS["observation.state"], ONE_CAMERA[kind]: INPUTS["observation.images.left"]}


def statistics_of(described: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, dict[str, Any]]:
    """Made-up ones of a data set with these columns."""
    import torch

    stats = {}
    for name, (kind, shape) in described.items():
        low = torch.rand((3, 1, 1) if kind == "VISUAL" else shape)
        stats[name] = {
            "min": low, "max": low + 1.5, "mean": low + 0.5, "std": low + 0.25, "q01": low, "q99": low + 1.5
        }  # fmt: skip
    return stats


def save_policy(folder: Path, kind: str, seed: int = 0, **settings: Any) -> Path:
    """A policy with random weights and made-up statistics, saved as ``lerobot-train`` saves it.

    ``settings``: of its config, beside those that make it tiny.
    """
    imported()
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

    def features(described):
        return {name: PolicyFeature(FeatureType(kind), shape) for name, (kind, shape) in described.items()}

    inputs = inputs_of(kind)
    torch.manual_seed(seed)
    config = make_policy_config(
        kind,
        input_features=features(inputs),
        output_features=features(OUTPUTS),
        device="cpu",
        push_to_hub=False,
        **{**SETTINGS.get(kind, {}), **settings},
    )
    stats = statistics_of({**inputs, **OUTPUTS})
    policy = get_policy_class(kind)(config)
    if kind in NAME_OTHERS:
        # Zeros hide what they are multiplied with, and what the memory happened to hold may be no number.
        with torch.no_grad():
            for name, weight in policy.named_parameters():
                if name.endswith("image_projection"):
                    weight.zero_()
                weight.add_(0.05 * torch.randn_like(weight))
    preprocess, postprocess = make_pre_post_processors(config, dataset_stats=stats)
    for part in (policy, preprocess, postprocess):
        part.save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, kind: str, seed: int = 0, **lora: Any) -> Path:
    """A LoRA of random numbers for the policy in ``base``, saved as ``lerobot-train --peft`` saves it."""
    import torch
    from lerobot.policies.factory import get_policy_class
    from peft import LoraConfig

    policy = get_policy_class(kind).from_pretrained(base)
    policy.config.pretrained_path = str(base)
    targets = policy._get_default_peft_targets() or {"target_modules": TARGETS[kind]}
    wrapped = policy.wrap_with_peft(LoraConfig(**{"r": 4, "lora_alpha": 8, **targets, **lora}))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_" in name or "modules_to_save" in name:  # what training would have changed
                weight.add_(0.1 * torch.randn_like(weight))
    wrapped.save_pretrained(folder)
    wrapped.config.save_pretrained(folder)
    for path in base.glob("policy_*"):
        shutil.copy(path, folder)
    return folder


def spread(folder: Path, files: int = 3) -> Path:
    """The same checkpoint with its weights in about so many files, as the Hub's own library saves large ones."""
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load_file

    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    size = sum(tensor.nbytes for tensor in tensors.values())
    save_torch_state_dict(tensors, folder, max_shard_size=size // files)
    return folder


def write_safetensors(path: Path, **tensors: Any) -> None:
    """A safetensors file of float32 arrays, without the library."""
    header, content = {}, b""
    for name, values in tensors.items():
        array = np.asarray(values, "<f4")
        end = len(content) + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(content), end]}
        content += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def change_weights(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the tensors of a safetensors file."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def write_files(folder: Path, *, kind: str = "act", **config: Any) -> Path:
    """The files of a checkpoint as far as they are read without torch; the weights mean nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "type": kind,
        "input_features": {name: {"type": t, "shape": list(shape)} for name, (t, shape) in INPUTS.items()},
        "output_features": {name: {"type": t, "shape": list(shape)} for name, (t, shape) in OUTPUTS.items()},
        "chunk_size": 16,
        "n_action_steps": 8,
        "normalization_mapping": {},
    }
    (folder / "config.json").write_text(json.dumps(described | config))
    write_safetensors(folder / "model.safetensors", weight=[1.0, 2.0])
    for name, step in (
        ("policy_preprocessor", "normalizer_processor"),
        ("policy_postprocessor", "unnormalizer_processor"),
    ):
        state = f"{name}_step_0_{step}.safetensors"
        steps = [{"registry_name": step, "config": {}, "state_file": state}]
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "steps": steps}))
        write_safetensors(folder / state, mean=[0.0])
    return folder


def model_inputs(seed: int, kind: str = "act") -> dict[str, np.ndarray]:
    """One observation in the policy's own features."""
    random = np.random.default_rng(seed)
    return {
        name: random.uniform(0, 1, 8).astype(np.float32)
        if how == "STATE"
        else random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        for name, (how, _) in inputs_of(kind).items()
    }
