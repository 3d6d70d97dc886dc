"""What becomes of each thing that a LeRobot checkpoint says of itself: one word for each field, step and type.

``releases.json`` holds which fields, steps and types there are in the releases that are served; here is what is done
about each. The loader obeys these tables, ``docs/reference/lerobot.md`` is made of them (``tools/lerobot_words.py``),
and a test finds nothing in the installed LeRobot that is without a word. A field is listed by its name, or as
``type.name`` where it means something else in that type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """``neutral``: the values at which the field asks for nothing; ``why`` any other is refused; what to ``do``.

    ``unless``: the release that honours them all.
    """

    neutral: tuple[Any, ...]
    why: str
    do: str
    unless: str | None = None


#: Word → what it means, for the table in the documentation.
WORDS: Mapping[str, str] = {
    "needed": "shapes the network, or what it computes: goes to LeRobot as it is",
    "described": "says what is read and answered: it becomes the handshake's `observation` and `action`; where the "
    "processors' statistics are of [another robot](../how-to/serve-lerobot.md#fine-tuned-for-another-robot), by these",
    "announced": "goes to LeRobot, and into the handshake under its own name for the robots to act upon; "
    "`n_action_steps` of pi0_fast is refused where it is not its `chunk_size`",
    "default": "what a session that does not say `num_inference_steps` gets: 1 to 1000",
    "filled": "LeRobot fills these cameras itself (0 to 16): no robot is asked for them, the codec does not list them",
    "device": "the machine that trained it; here `--lerobot.device` says which",
    "on CUDA": "mixed precision, on a CUDA device and as LeRobot does it; none elsewhere, as there",
    "compiled": "what of it LeRobot would compile when it is made: not followed; "
    "[`--compile`](../how-to/compile.md) compiles, and compares",
    "hub": "names what lies on the Hub: the whole path of a folder (of a local checkpoint), or in the Hub's cache on "
    "this machine; nothing is fetched at a load, and what is in neither place is refused before the server listens",
    "replaced": "says where first weights come from, and all weights are in the checkpoint",
    "training": "says how it was trained or kept; left out where the LeRobot that serves does not know it",
    "refused": "refused before the server listens, unless it is at a value that asks for nothing",
}

_LISTED: Mapping[str, str] = {
    "described": "type input_features output_features",
    "announced": "n_action_steps n_obs_steps temporal_ensemble_coeff rtc_config",
    "default": "num_inference_steps num_steps num_denoising_steps num_denoise_steps num_inference_timesteps",
    "filled": "empty_cameras",
    "device": "device",
    "on CUDA": "use_amp",
    "compiled": "compile_mode compile_model",
    "replaced": "pretrained_path pretrained_backbone_weights load_vlm_weights",
    "hub": """
        action_tokenizer_name action_tokenizer_path discrete_action_tokenizer groot.base_model_path
        checkpoint_path jepa_encoder_name multi_task_dit.text_encoder_name pretrained_name_or_path
        qwen_model_name text_encoder_model_id text_tokenizer_name tokenizer_assets_repo tokenizer_model_id
        vision_encoder_name vlm_base vlm_model_name
    """,
    "training": """
        license private push_to_hub repo_id tags pretrained_revision output_dir report_to resume action_dropout
        action_noise_beta_alpha action_noise_beta_beta action_noise_s actor_learner_config actor_lr
        advantage_scaling apply_training_stage_defaults async_prefetch balance_dataset_weights
        balance_trajectory_weights batch_size concurrency consistency_coeff critic_lr
        critic_target_update_weight crop_is_random dataloader_num_workers dataset_paths dataset_stats
        sac.discount discrete_loss_token_weighting do_mask_loss_for_padding drop_n_last_frames dropout
        enable_gradient_checkpointing enable_knowledge_insulation expectile_weight finetune_action_head
        finetune_language_model finetune_vision_model finetune_vlm flow_matching_beta_alpha
        flow_matching_beta_beta freeze_embedding freeze_language_encoder freeze_qwen freeze_video_expert
        freeze_vision_encoder grad_clip_norm gradient_checkpointing gradient_checkpointing_use_reentrant
        image_crop_is_random kl_weight lora_dropout loss mask_action_dim_padding max_random_shift_ratio
        max_steps mot_checkpoint_mixed_attn n_vqvae_training_steps offline_buffer_capacity offset_loss_weight
        online_buffer_capacity online_step_before_learning online_steps optimizer_action_expert_lr
        optimizer_betas optimizer_connector_lr optimizer_eps optimizer_grad_clip_norm optimizer_lr
        optimizer_lr_backbone optimizer_soft_prompt_lr_scale optimizer_soft_prompt_warmup_lr_scale
        optimizer_vit_lr optimizer_vqvae_lr optimizer_vqvae_weight_decay optimizer_weight_decay pi_coeff
        policy_update_freq predictor_dropout primary_code_loss_weight reinit_modules repeated_diffusion_steps
        reward_coeff save_steps scheduler_decay_lr scheduler_decay_steps scheduler_name scheduler_warmup_steps
        secondary_code_loss_weight softmax_auxiliary_loss softmax_auxiliary_loss_scale storage_device
        supervise_padding_action_dims supervise_padding_actions target_entropy target_model_momentum
        temperature_init temperature_lr temporal_decay_coeff time_sampling_beta_alpha time_sampling_beta_beta
        time_sampling_offset time_sampling_scale timestep_sampling_alpha timestep_sampling_beta
        timestep_sampling_s timestep_sampling_strategy train_action_expert_only train_expert_only
        train_policy_transformer train_soft_prompts train_state_proj training_stage tune_diffusion_model
        tune_llm tune_projector tune_top_llm_layers tune_visual tune_vlln use_backup_entropy
        use_gradient_checkpointing utd_ratio value_coeff video_backend vision_encoder_lr_multiplier warmup_ratio
        world_model_loss_weight
    """,
    "needed": """
        normalization_mapping action_act action_attention_head_dim action_chunk_size action_decode_transform
        action_dim action_dit_config action_expert_variant action_feature_names action_head action_hidden_size
        action_horizon action_max_seq_len action_mode action_model_type action_num_heads action_num_layers
        action_num_timestep_buckets action_scheduler action_video_freq_ratio actor_network_kwargs
        adapt_to_pi_aloha add_control_tokens add_image_special_tokens add_setup_tokens attention_mode
        attn_implementation base_model_id beta_end beta_schedule beta_start bet_softmax_temperature
        binarize_gripper binarize_gripper_action cem_iterations checkpoint_revision chunk_size
        clip_normalized_actions clip_sample clip_sample_range context_len
        control_mode critic_network_kwargs crop_ratio crop_shape dataset_feature_names default_embodiment_id
        depth diffusion_step_embed_dim dim_feedforward dim_model dim_time discount
        discrete_critic_network_kwargs discrete_generation_max_steps domain_feature_key down_dims dtype
        elite_weighting_temperature embed_dim embodied_action_token embodiment_tag enable_inference_cuda_graph
        enable_lora_action_expert enable_lora_vlm enable_world_model eval_seed expected_max_action_dim
        expert_width_multiplier fast_skip_tokens feedforward_activation florence_config flow_matching_cutoff
        flow_matching_time_offset flow_matching_time_scale force_fp32_autocast fp32_attention
        gaussian_mean_momentum gpt_block_size gpt_hidden_dim gpt_input_dim gpt_n_head gpt_n_layer gpt_output_dim
        gripper_above_threshold_value gripper_below_threshold_value gripper_dim gripper_index gripper_threshold
        hidden_dim hidden_size horizon image_crop_shape image_embedding_pooling_dim image_encoder_hidden_dim
        image_keys image_max_pixels image_min_pixels image_resize_shape image_resolution image_size
        inference_action_mode inference_seed integration_method jepa_tubelet_size joint_offsets joint_signs
        kernel_size latent_dim len_soft_prompts load_text_encoder lora_alpha lora_bias lora_full_model lora_rank
        max_action_dim max_action_tokens max_decoding_steps max_len_seq max_period max_sequence_length
        max_state_dim max_std max_text_length max_views min_period min_std mlp_dim mlp_ratio model_dtype
        model_id model_params_fp32 n_action_pred_token n_action_repeats n_decoder_layers n_elites
        n_encoder_layers n_gaussian_samples n_groups n_heads n_pi_samples n_vae_encoder_layers negative_prompt
        noise_scheduler_type norm_tag normalize_gripper normalize_language num_action_layers
        num_action_tokens_per_timestep num_categories num_critics num_discrete_actions
        num_domains num_embodied_action_tokens_per_instruction num_expert_layers num_flow_timesteps num_heads
        num_image_views num_integration_steps num_layers num_state_tokens
        num_subsample_critics num_target_vision_tokens num_train_timesteps num_video_frames num_vlm_layers
        objective pad_language_to paligemma_variant policy_kwargs postprocess_action_dim pre_norm
        pre_snap_gripper_action prediction_type predictor_depth predictor_mlp_ratio
        predictor_num_heads prefix_length prompt_template proprio_dim q_ensemble_size rand_device
        relative_exclude_joints replace_final_stride_with_dilation resize_images_to resize_imgs_with_padding
        resize_shape return_cls_only rope_base rtc_ramp_rate self_attn_every_n_layers sequentially_select
        setup_type shared_encoder sigma_min sigma_shift spatial_softmax_num_keypoints special_action_token
        state_dim state_encoder_hidden_dim state_hidden_dim temperature text_cfg_scale tiled timestep_embed_dim
        toggle_action_dimensions tokenizer_max_len tokenizer_max_length tokenizer_name tokenizer_padding
        tokenizer_padding_side tokenizer_truncation torch_dtype uncertainty_regularizer_coeff use_bf16 use_cache
        use_fast_processor use_film_scale_modulation use_flash_attention use_flash_attn use_group_norm
        use_hetero_proj use_kv_cache use_mpc use_positional_encoding use_proprio use_relative_actions use_rope
        use_separate_rgb_encoder_per_camera use_torch_compile use_vae validate_action_token_prefix
        video_dit_config video_scheduler vision_attn_implementation vision_backbone vlm_config vlm_dtype
        vlm_num_layers vqvae_embedding_dim vqvae_enc_hidden_dim vqvae_n_embed
    """,
}

#: Fields that are refused at other values than these.
REFUSED: Mapping[str, Refusal] = {
    "use_peft": Refusal(
        (False,),
        "an adapter changes its weights, and LeRobot 0.4 is not asked to apply any",
        "Serve it with LeRobot 0.6 (--env lerobot-0.6), or merge it into them (merge_and_unload of peft)",
        unless="0.6.1",
    ),
    "use_delta_joint_actions_aloha": Refusal(
        (False,), "LeRobot has not made it", "Train it with absolute actions, or with relative ones of LeRobot 0.6"
    ),
    "checkpoint_force_download": Refusal(
        (False,), "nothing is fetched at a load", "Set it to false, and fetch what it names with: hf download"
    ),
    "per_episode_seed": Refusal(
        (False,),
        "it counts the episodes of one robot, and here several play",
        "Set it to false, and let each robot send a seed (offboard.seed)",
    ),
    "prediction_mode": Refusal(
        ("diffusion",),
        "code that comes with its tokenizer would make actions of what it says, and none is run",
        "Train it with diffusion",
    ),
    "task_field": Refusal(
        ("task",), "an observation brings its instruction as task, and nothing else", "Train it with task"
    ),
    "embodiment_id_field": Refusal(
        (None,), "an observation brings no such number", "Set it to null, and default_embodiment_id to the robot's"
    ),
}

#: Field of an rtc_config → what becomes of it.
GUIDANCE: Mapping[str, str] = {
    "debug": "taken for false: nothing is kept of an inference",
    "debug_maxlen": "how much would be kept where debug is true",
    "enabled": "taken as a robot asks: a chunk goes on from what it says that it has left, and from nothing if it says "
    "nothing",
    "execution_horizon": "what a session that does not say it gets: 1 to 16,384",
    "max_guidance_weight": "what a session that does not say it gets: above 0, at most 1000",
    "prefix_attention_schedule": "goes to LeRobot as it is: ZEROS, ONES, LINEAR or EXP",
}

#: Fields of "replaced" → what LeRobot is given; the checkpoint's own folder is "".
REPLACED: Mapping[str, Any] = {"pretrained_path": "", "pretrained_backbone_weights": None, "load_vlm_weights": False}

#: Fields of newer releases → the value at which a policy does what it always did before there was the field.
AS_BEFORE: Mapping[str, Any] = {"use_relative_actions": False, "vision_attn_implementation": "auto"}
#: Fields that say nothing of their own: of what one of :data:`AS_BEFORE` switches off.
OF_ANOTHER: Mapping[str, str] = {
    "relative_exclude_joints": "use_relative_actions",
    "action_feature_names": "use_relative_actions",
}

#: What LeRobot itself names on the Hub for policies of a type, whatever a checkpoint says.
NAMED: Mapping[str, Sequence[str]] = {"fastwam": ("Wan-AI/Wan2.2-TI2V-5B-Diffusers",)}

#: Types that are not served, though LeRobot calls them policies → why.
NO_POLICIES: Mapping[str, str] = {
    "lingbot_va": "goes on from what was seen at every step of its last chunk, all of which it takes for played: no "
    "robot tells a server that it was",
    "reward_classifier": "drives nothing: it judges what it sees",
    "sarm": "drives nothing: it judges how far a task is",
}

#: Types that read the state as words → the step that puts it into their prompt.
STATE_IN_PROMPT: Mapping[str, str] = {
    "pi05": "pi05_prepare_state_tokenizer_processor_step",
    "pi0_fast": "pi0_fast_prepare_state_tokenizer_processor_step",
}

#: Fields that the handshake has, where a checkpoint says something.
ANNOUNCED = _LISTED["announced"].split()

_WORD_OF = {name: word for word, names in _LISTED.items() for name in names.split()} | dict.fromkeys(REFUSED, "refused")


def listed() -> Mapping[str, str]:
    """Each field that has a word, as it is listed → the word."""
    return _WORD_OF


def word_of(kind: str, field: str) -> str | None:
    """The word of this field in policies of this type; None: nobody here knows it."""
    return _WORD_OF.get(f"{kind}.{field}", _WORD_OF.get(field))
