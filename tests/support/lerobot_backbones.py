"""Language and vision models of tens of thousands of weights, in a Hub's cache of their own, under the names that are
asked for.

LeRobot's vision-language-action models name others on the Hub: their tokenizers, and the config of what they are built
on. Here both are made from scratch, so that no test needs a network.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import importlib.util
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

#: What LeRobot itself names, whatever a checkpoint says.
PALIGEMMA = "google/paligemma-3b-pt-224"
FAST = "lerobot/fast-action-tokenizer"
COSMOS = "nvidia/Cosmos-Reason2-2B"
WAN = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
SMOLVLM = "tiny/smolvlm"
CLIP = "tiny/clip"
BART = "tiny/bart"
QWEN2_5_VL = "tiny/qwen2.5-vl"
INTERNVL = "tiny/internvl"
QWEN3_VL = "tiny/qwen3-vl"
V_JEPA2 = "tiny/vjepa2"
WALL_X = "tiny/wall-x"
GR00T = "tiny/gr00t"
UMT5 = "tiny/umt5"
MOLMOACT2 = "tiny/molmoact2"

#: A PaliGemma has 257,152 words, each a row; a Gemma of two layers does with these.
VOCABULARY = 320


def fill(cache: Path) -> None:
    """Write the models into an empty cache of the Hub."""
    old = importlib.metadata.version("lerobot").startswith("0.4.")
    if old and importlib.util.find_spec("torchdiffeq"):
        _wall_x(_repository(cache, WALL_X))  # whose transformers makes none of the others
        return
    _tokenizer().save_pretrained(_repository(cache, PALIGEMMA))
    _tokenizer().save_pretrained(_repository(cache, BART))
    _smolvlm(_repository(cache, SMOLVLM))
    _fast(_repository(cache, FAST))
    _clip(_repository(cache, CLIP))
    if old:
        return  # it has none of the policies that name the others, nor a transformers that makes them
    _qwen2_5_vl(_repository(cache, QWEN2_5_VL))
    _internvl(_repository(cache, INTERNVL))
    _qwen3_vl(_repository(cache, QWEN3_VL))
    _qwen3_vl(_repository(cache, COSMOS))
    _v_jepa2(_repository(cache, V_JEPA2))
    _wall_x(_repository(cache, WALL_X))
    _wan_vae(_repository(cache, WAN))
    _umt5(_repository(cache, UMT5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about LeRobot's MolmoAct2
        _molmoact2(_repository(cache, MOLMOACT2))
    with in_use(cache):
        _gr00t(_repository(cache, GR00T))


@contextlib.contextmanager
def in_use(cache: Path) -> Iterator[None]:
    """Let this process find these models, and no network, and build its Gemmas small."""
    import huggingface_hub.constants
    import transformers.utils.hub
    from offboard_lerobot.weights import run_no_code

    with contextlib.ExitStack() as stack:
        # What is there is looked at before a load, without huggingface_hub, which reads this when it is imported.
        stack.enter_context(mock.patch.dict(os.environ, HF_HUB_CACHE=str(cache)))
        stack.enter_context(mock.patch.object(huggingface_hub.constants, "HF_HUB_CACHE", str(cache)))
        stack.enter_context(mock.patch.object(huggingface_hub.constants, "HF_HUB_OFFLINE", True))
        if hasattr(transformers.utils.hub, "TRANSFORMERS_CACHE"):
            stack.enter_context(mock.patch.object(transformers.utils.hub, "TRANSFORMERS_CACHE", str(cache)))
            stack.enter_context(mock.patch.object(transformers.utils.hub, "_is_offline_mode", True))
        _small_gemmas(stack)
        # What LeRobot answers by itself is asked for, too, and its pi0-FAST would run a tokenizer's code.
        run_no_code()
        yield


def _repository(cache: Path, name: str) -> Path:
    place = cache / f"models--{name.replace('/', '--')}"
    commit = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    snapshot = place / "snapshots" / commit
    snapshot.mkdir(parents=True)
    # transformers 5 asks for one even where only a tokenizer is wanted.
    (snapshot / "config.json").write_text("{}")
    return snapshot


def _tokenizer(**more: Any) -> Any:
    """A token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<unk>", *more.get("extra_special_tokens", {}).values()]
    names = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    names += [f"<unused{i}>" for i in range(VOCABULARY - len(names))]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", **more
    )


def _smolvlm(place: Path) -> None:
    from transformers import SmolVLMConfig, SmolVLMImageProcessor, SmolVLMProcessor
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    special = {
        "fake_image_token": "<fake_token_around_image>", "image_token": "<image>", "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }  # fmt: skip
    tokenizer = _tokenizer(extra_special_tokens=special)
    SmolVLMConfig(
        text_config={
            "model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": VOCABULARY,
            "pad_token_id": 0,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 16,
        },
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    ).save_pretrained(place)  # fmt: skip
    SmolVLMProcessor(SmolVLMImageProcessor(), tokenizer, SmolVLMVideoProcessor()).save_pretrained(place)


def _clip(place: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": VOCABULARY, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 32, "patch_size": 16,
        },
        projection_dim=16,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(place)
    _tokenizer().save_pretrained(place)


#: What the tokenizers of Qwen's models have beside words.
_QWEN = {
    "im_start": "<|im_start|>", "im_end": "<|im_end|>", "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>", "image_token": "<|image_pad|>", "video_token": "<|video_pad|>",
}  # fmt: skip
_QWEN_CHAT = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n"
    "{% for part in turn.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Of a decoder like Qwen's. Rows for words that a policy adds to its tokenizer, too.
_QWEN_TEXT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "vocab_size": VOCABULARY + 32, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "max_position_embeddings": 1024,
}  # fmt: skip


def _ids(tokenizer: Any) -> dict[str, int]:
    """The numbers of Qwen's tokens, as its configs name them."""
    of = tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": of("<|image_pad|>"), "video_token_id": of("<|video_pad|>"),
        "vision_start_token_id": of("<|vision_start|>"), "vision_end_token_id": of("<|vision_end|>"),
    }  # fmt: skip


_QWEN2_5_TEXT = {**_QWEN_TEXT, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
_QWEN2_5_VISION = {
    "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32,
    "fullatt_block_indexes": [1], "window_size": 56,
}  # fmt: skip


def _qwen2_5_processor(place: Path, **more: str) -> Any:
    from transformers import Qwen2_5_VLProcessor, Qwen2TokenizerFast, Qwen2VLImageProcessor

    special = {**_QWEN, **more}
    parts: list[Any] = [Qwen2VLImageProcessor(), _tokenizer(extra_special_tokens=special)]
    try:
        from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    except ImportError:  # the transformers of LeRobot 0.4's WALL-X
        parts[1] = Qwen2TokenizerFast(
            tokenizer_object=parts[1]._tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
            unk_token="<unk>", extra_special_tokens=special,
        )  # fmt: skip
    else:
        parts.append(Qwen2VLVideoProcessor())
    processor = Qwen2_5_VLProcessor(*parts, chat_template=_QWEN_CHAT)
    processor.save_pretrained(place)
    return processor


def _qwen2_5_vl(place: Path) -> None:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = _qwen2_5_processor(place).tokenizer
    config = Qwen2_5_VLConfig(text_config=_QWEN2_5_TEXT, vision_config=_QWEN2_5_VISION, **_ids(tokenizer))
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(place)


def _wall_x(place: Path) -> None:
    from lerobot.policies.wall_x.modeling_wall_x import Qwen2_5_VLConfig, Qwen2_5_VLMoEForAction

    processor = _qwen2_5_processor(place, state="<|propri|>", action="<|action|>", action_fast="<|action_fast|>")
    expert = {"hidden_size": 32, "intermediate_size": 16, "hidden_act": "silu"}
    text = {
        **copy.deepcopy(_QWEN2_5_TEXT), "num_experts": 2, "experts": [expert, expert], "dof_config": {"arm": 20},
        "dim_inputs": [32, 32], "mlp_moe": True,
    }  # fmt: skip
    old = importlib.metadata.version("lerobot").startswith("0.4.")
    config = Qwen2_5_VLConfig(
        **(text if old else {"text_config": text}),
        vision_config=_QWEN2_5_VISION,
        agent_pos_config={"arm": 20},
        **_ids(processor.tokenizer),
    )
    model = Qwen2_5_VLMoEForAction(config, processor=processor)
    model.resize_token_embeddings(len(processor.tokenizer))
    model.save_pretrained(place)


def _qwen3_vl(place: Path) -> None:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = _tokenizer(extra_special_tokens=_QWEN)
    config = Qwen3VLConfig(
        text_config={
            **_QWEN_TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32,
            "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        **_ids(tokenizer),
    )  # fmt: skip
    Qwen3VLForConditionalGeneration(config).save_pretrained(place)
    few = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(patch_size=16, size=few), tokenizer, Qwen3VLVideoProcessor(), chat_template=_QWEN_CHAT
    )
    processor.save_pretrained(place)


def _gr00t(place: Path) -> None:
    from lerobot.policies.groot.groot_n1_7 import GR00TN17, GR00TN17Config

    few = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "dropout": 0.0, "final_dropout": True}
    config = GR00TN17Config(
        model_name=QWEN3_VL, backbone_embedding_dim=32, select_layer=1, action_horizon=6, max_state_dim=12,
        max_action_dim=12, hidden_size=16, input_embedding_dim=32, max_seq_len=64, max_num_embodiments=12,
        diffusion_model_cfg={
            **few, "positional_embeddings": None, "norm_type": "ada_norm", "output_dim": 16,
            "interleave_self_attention": True,
        },
        vl_self_attention_cfg={**few, "positional_embeddings": None, "num_layers": 1},
    )  # fmt: skip
    GR00TN17(config, load_backbone_weights=False).save_pretrained(place)


def _molmoact2(place: Path) -> None:
    from lerobot.policies.molmoact2.molmoact2_hf_model.configuration_molmoact2 import MolmoAct2Config
    from lerobot.policies.molmoact2.molmoact2_hf_model.modeling_molmoact2 import MolmoAct2ForConditionalGeneration

    special = ("im_patch", "im_low", "im_start", "low_res_im_start", "frame_start", "im_end", "frame_end", "im_col")
    special += ("action_start", "action_end", "action_output")
    tokenizer = _tokenizer(extra_special_tokens={f"{name}_of": f"<{name}>" for name in special})
    tokenizer.save_pretrained(place)
    of = tokenizer.convert_tokens_to_ids
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "hidden_size": 16}
    config = MolmoAct2Config(
        vit_config={
            **heads, "intermediate_size": 16, "num_hidden_layers": 2, "image_default_input_size": (28, 28),
            "image_num_pos": 4,
        },
        adapter_config={**heads, "vit_layers": (-1, -2), "intermediate_size": 16, "text_hidden_size": 16},
        text_config={
            **heads, "vocab_size": VOCABULARY, "additional_vocab_size": 8, "num_hidden_layers": 2,
            "intermediate_size": 16, "max_position_embeddings": 1024,
        },
        action_expert_config={
            "hidden_size": 16, "num_layers": 2, "num_heads": 2, "ffn_multiple_of": 8, "timestep_embed_dim": 8
        },
        max_action_horizon=6, flow_matching_num_steps=3, image_patch_id=of("<im_patch>"), image_col_id=of("<im_col>"),
        image_start_token_id=of("<im_start>"), image_end_token_id=of("<im_end>"), image_low_res_id=of("<im_low>"),
        low_res_image_start_token_id=of("<low_res_im_start>"), frame_start_token_id=of("<frame_start>"),
        frame_end_token_id=of("<frame_end>"), action_start_token_id=of("<action_start>"),
        action_end_token_id=of("<action_end>"), action_output_token_id=of("<action_output>"), eos_token_id=2,
    )  # fmt: skip
    MolmoAct2ForConditionalGeneration(config).save_pretrained(place)
    size = {"size": {"height": 28, "width": 28}, "crop_mode": "resize"}
    (place / "processor_config.json").write_text(json.dumps({"image_processor": size}))


def _wan_vae(place: Path) -> None:
    from diffusers import AutoencoderKLWan

    AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=48, dim_mult=[1, 1, 1, 1], num_res_blocks=1, attn_scales=[],
        temperal_downsample=[False, True, True], in_channels=12, out_channels=12, is_residual=True, patch_size=2,
        scale_factor_temporal=4, scale_factor_spatial=16, latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
    ).save_pretrained(place / "vae")  # fmt: skip


def _umt5(place: Path) -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    _tokenizer().save_pretrained(place)
    config = UMT5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    UMT5EncoderModel(config).save_pretrained(place / "text_encoder")


def _v_jepa2(place: Path) -> None:
    from transformers import VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

    config = VJEPA2Config(
        hidden_size=24, num_attention_heads=2, num_hidden_layers=1, mlp_ratio=1, crop_size=32, frames_per_clip=4,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1,
    )  # fmt: skip
    VJEPA2Model(config).save_pretrained(place)
    VJEPA2VideoProcessor(crop_size={"height": 32, "width": 32}, size={"shortest_edge": 36}).save_pretrained(place)


def _internvl(place: Path) -> None:
    from transformers import InternVLConfig, InternVLModel

    tokenizer = _tokenizer(
        extra_special_tokens={"start": "<img>", "end": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    )
    tokenizer.save_pretrained(place)
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **_QWEN_TEXT},
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": [28, 28], "patch_size": [14, 14],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=1,
    )  # fmt: skip
    InternVLModel(config).save_pretrained(place)


def _fast(place: Path) -> None:
    """A FAST tokenizer as it is published: its code beside it, which is not to be run."""
    _tokenizer().save_pretrained(place)
    described = {
        "action_dim": None, "time_horizon": None, "min_token": -128, "scale": 10, "vocab_size": VOCABULARY,
        "processor_class": "UniversalActionProcessor",
        "auto_map": {"AutoProcessor": "processing_action_tokenizer.UniversalActionProcessor"},
    }  # fmt: skip
    (place / "processor_config.json").write_text(json.dumps(described))
    (place / "processing_action_tokenizer.py").write_text("raise SystemExit('code of a tokenizer was run')\n")


def _small_gemmas(stack: contextlib.ExitStack) -> None:
    """The sizes of Gemma and SigLIP are LeRobot's own and in no config."""
    from importlib import import_module

    for kind in ("pi0", "pi05", "pi0_fast"):
        try:
            module = import_module(f"lerobot.policies.{kind}.modeling_{kind}")
            whole = module.PaliGemmaForConditionalGenerationWithPiGemma
        except (ImportError, AttributeError):
            continue  # LeRobot 0.4 wants a transformers of its own for these
        size = module.GemmaConfig(width=32, depth=2, mlp_dim=32, num_heads=2, num_kv_heads=1, head_dim=16)
        stack.enter_context(mock.patch.object(module, "get_gemma_config", lambda _, size=size: size))

        def small(config: Any, whole: Any = whole) -> Any:
            config.text_config.vocab_size = config.image_token_index = VOCABULARY
            config.projection_dim = config.vision_config.projection_dim = config.text_config.hidden_size
            for name, value in {
                "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 28, "patch_size": 14,
            }.items():  # fmt: skip
                setattr(config.vision_config, name, value)
            return whole(config=config)

        stack.enter_context(mock.patch.object(module, "PaliGemmaForConditionalGenerationWithPiGemma", small))
        if (expert := getattr(module, "PiGemmaForCausalLM", None)) is not None:

            def few(config: Any, expert: Any = expert) -> Any:
                config.vocab_size = VOCABULARY
                return expert(config=config)

            stack.enter_context(mock.patch.object(module, "PiGemmaForCausalLM", few))
